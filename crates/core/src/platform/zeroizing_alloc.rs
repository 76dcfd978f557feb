//! The allocator of the plugin and of the program: what is given back is wiped first.
//!
//! `Ticket` and `Token` wipe themselves, but a credential passes through memory that is
//! not theirs: the URL that CAS is asked by, the buffers of HTTP, TLS and XML, a reply
//! that quotes it. Whoever finds a core dump, or a hole in the host through which its
//! memory can be read, is not to find the credentials of all who logged in before.
//!
//! The host's own memory is not touched: its allocator is another one, and so are those
//! of LMDB, which never sees a credential, and of aws-lc, which wipes what it frees.
//!
//! The stack is wiped where a credential is known to come to lie on it.

use std::alloc::{GlobalAlloc, Layout, System};

use nix::libc;

/// The system's, with what is freed wiped.
struct Wiping;

#[global_allocator]
static ALLOCATOR: Wiping = Wiping;

// SAFETY: every block is the system's, which keeps the promises of GlobalAlloc. There is
// no `realloc` here: that of the trait takes a new block, copies, and frees the old one
// by `dealloc`, where the system's own would leave the old one as it was.
unsafe impl GlobalAlloc for Wiping {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are the same (GlobalAlloc::alloc).
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above (GlobalAlloc::alloc_zeroed).
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is of this layout, and nobody uses it any more
        // (GlobalAlloc::dealloc): it may be written until it is given back. The compiler
        // does not leave this out, as it may a write to what is freed (explicit_bzero(3)).
        unsafe {
            libc::explicit_bzero(block.cast(), layout.size());
            System.dealloc(block, layout);
        }
    }
}

/// Overwrites what the calls before this one left behind on the stack, `N` bytes deep.
#[inline(never)]
pub(crate) fn wipe_stack<const N: usize>() {
    std::hint::black_box(&mut [0_u8; N]);
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::unix::fs::FileExt;

    /// What is at an address now, whosever it is; nothing if nobody's.
    fn memory(address: usize) -> [u8; 64] {
        let mut bytes = [0; 64];
        let memory = File::open("/proc/self/mem").unwrap();
        let _ = memory.read_exact_at(&mut bytes, address as u64);
        bytes
    }

    #[test]
    fn what_is_freed_is_wiped_and_so_is_what_is_outgrown() {
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
