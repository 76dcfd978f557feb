//! The allocator of the plugin and the program, which overwrites memory that is freed.
//!
//! `Ticket` and `Token` overwrite themselves, but a credential passes through other memory too: the
//! URL of a request to CAS, the buffers of HTTP, TLS and XML, a reply that quotes a ticket. A core
//! dump, or a hole through which the memory of the host can be read, must not show the credentials
//! of earlier logins.
//!
//! The host's own allocator is another one and is not affected. LMDB never sees a credential, and
//! aws-lc overwrites what it frees.
//!
//! The stack is overwritten where a credential is known to have been on it.

use std::alloc::{GlobalAlloc, Layout, System};

use nix::libc;

/// The system's allocator, which overwrites memory before freeing it.
struct Zeroizing;

#[global_allocator]
static ALLOCATOR: Zeroizing = Zeroizing;

// SAFETY: every block is the system allocator's, which keeps the contract of GlobalAlloc. The
// trait's own `realloc` is used: it allocates, copies, and frees the old block by `dealloc`. The
// system's `realloc` would leave the old block unchanged.
unsafe impl GlobalAlloc for Zeroizing {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract (GlobalAlloc::alloc).
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the same contract (GlobalAlloc::alloc_zeroed).
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block has this layout and is unused (GlobalAlloc::dealloc), so it may be
        // written until it is freed. The compiler may drop a plain write to memory that is freed,
        // but not this one (explicit_bzero(3)).
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}

/// Overwrites what earlier calls left on the stack, to a depth of `N` bytes.
#[inline(never)]
pub(crate) fn wipe_stack<const N: usize>() {
    std::hint::black_box(&mut [0_u8; N]);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// Returns the current contents of an address; zeros if it is not mapped.
    fn memory(address: usize) -> [u8; 64] {
        let mut bytes = [0; 64];
        let memory = File::open("/proc/self/mem").unwrap();
        let _ = memory.read_exact_at(&mut bytes, address as u64);
        bytes
    }

    #[test]
    fn freed_and_reallocated_memory_is_overwritten() {
        let mut secret = vec![b'x'; 4_096];
        let first = secret.as_ptr().addr() + 1_024;
        assert_eq!(memory(first), [b'x'; 64]);
        secret.reserve_exact(1 << 16);
        let second = secret.as_ptr().addr() + 1_024;
        assert_ne!(first, second);
        assert_ne!(memory(first), [b'x'; 64]);
        drop(secret);
        assert_ne!(memory(second), [b'x'; 64]);
    }
}
