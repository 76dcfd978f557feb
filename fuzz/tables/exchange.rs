//! An exchange by the plugin's own table, on the parameters of a connection that
//! libsasl2 made: what a host may do that is not libsasl2.

use std::ffi::{CStr, c_int, c_void};
use std::ptr;

use super::connection::{forget, raw};
use super::finding;
use super::host::{CHECKED, Host};
use super::libsasl2::*;
use super::messages::{Draw, Message};

pub struct Exchange {
    context: *mut c_void,
    plug: Plug,
    params: *mut Params,
    /// On which connection it is.
    pub connection: usize,
    out: Box<Out>,
    /// What is to be sent to the client: it is there until the next call.
    challenge: Option<&'static [u8]>,
    /// The first message, if it was sent.
    first: Option<Message>,
    gives_utils: bool,
}

impl Exchange {
    pub fn new(
        host: &Host,
        params: *mut Params,
        connection: usize,
        draw: &mut Draw<'_>,
        is_freed: bool,
    ) -> Option<Self> {
        let plug = draw.one(host.plugs);
        let new = plug.new.expect("mech_new");
        let mut context = ptr::null_mut();
        let code = unsafe { new(plug.context, params, ptr::null(), 0, &raw mut context) };
        match (code, is_freed) {
            (OK, false) if !context.is_null() => {}
            (NOMECH, true) if context.is_null() => return None,
            _ => finding("mech_new does not say what it does"),
        }
        Some(Self {
            context,
            plug,
            params,
            connection,
            out: Box::new(Out::new()),
            challenge: None,
            first: None,
            gives_utils: draw.byte() < 0xc0,
        })
    }

    pub fn step(&mut self, draw: &mut Draw<'_>) {
        let mechanism = unsafe { CStr::from_ptr(self.plug.name) }.to_string_lossy();
        // What it said before is still to be read.
        let sum = |bytes: &[u8]| bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>();
        std::hint::black_box(self.challenge.take().map(sum));
        let message = Message::draw(&mechanism, draw);
        let missing = draw.byte();
        let is_there = missing != 0xff;
        forget(&message);
        let (mut out, mut length) = (ptr::null(), 0);
        let step = self.plug.step.expect("mech_step");
        let nothing = missing >> 4 == 1;
        let code = unsafe {
            let (pointer, count) = raw(is_there.then_some(&message.bytes[..]));
            step(
                if nothing && missing & 1 > 0 {
                    ptr::null_mut()
                } else {
                    self.context
                },
                if nothing && missing & 2 > 0 {
                    ptr::null_mut()
                } else {
                    self.params
                },
                pointer,
                count,
                if nothing && missing & 4 > 0 {
                    ptr::null_mut()
                } else {
                    &raw mut out
                },
                &raw mut length,
                if nothing && missing & 8 > 0 {
                    ptr::null_mut()
                } else {
                    &raw mut *self.out
                },
            )
        };
        if nothing && missing & 0xf > 0 {
            if code != BADPARAM {
                finding("something is missing, and is not missed");
            }
            return;
        }
        if self.first.is_some() && code >= OK {
            finding("an exchange that goes on after its end");
        }
        self.first.get_or_insert(message);
        self.check(code);
        if code == CONTINUE {
            self.challenge =
                Some(unsafe { std::slice::from_raw_parts(out.cast(), length as usize) });
        } else if !out.is_null() || length > 0 {
            finding("more to be sent at the end");
        }
    }

    fn check(&self, code: c_int) {
        if code != OK {
            return;
        }
        let out = &self.out;
        if out.done == 0 || out.user.is_null() || out.authid.is_null() {
            finding("an end that is none");
        }
        let user = unsafe { CStr::from_ptr(out.authid) }.to_string_lossy();
        if user.len() != out.authid_length as usize {
            finding("a name that is longer or shorter than it is");
        }
        let message = self.first.as_ref();
        let was_checked = CHECKED.with_borrow(|checked| checked.as_deref() == Some(&*user));
        if !was_checked && !message.is_some_and(|message| message.may_be(&user)) {
            finding(&format!("{user} was logged in by nothing"));
        }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let dispose = self.plug.dispose.expect("mech_dispose");
        let utils = match self.gives_utils {
            true => unsafe { (*self.params).utils },
            false => ptr::null(),
        };
        unsafe {
            dispose(self.context, utils);
            dispose(ptr::null_mut(), utils);
        }
    }
}

/// Calls that are of nothing: each says so, and does nothing.
pub fn nothing(host: &Host, draw: &mut Draw<'_>) {
    let plug = draw.one(host.plugs);
    let (new, dispose) = (
        plug.new.expect("mech_new"),
        plug.dispose.expect("mech_dispose"),
    );
    let none = ptr::null_mut();
    let mut context = ptr::null_mut();
    unsafe {
        let missed = new(
            plug.context,
            ptr::null_mut(),
            ptr::null(),
            0,
            &raw mut context,
        );
        if missed != BADPARAM || !context.is_null() {
            finding("an exchange of no connection");
        }
        dispose(none, host.utils);
        dispose(none, ptr::null());
        let (mut version, mut plugs, mut count) = (0, ptr::null_mut(), 0);
        let old = sasl_server_plug_init(
            host.utils,
            3,
            &raw mut version,
            &raw mut plugs,
            &raw mut count,
        );
        let unasked = sasl_server_plug_init(
            ptr::null(),
            4,
            ptr::null_mut(),
            ptr::null_mut(),
            none.cast(),
        );
        if old >= OK || unasked != BADPARAM {
            finding("a plugin of no host");
        }
    }
}

/// The plugin's end.
pub fn free(host: &Host) {
    let free = host.plugs[0].free.expect("mech_free");
    unsafe { free(host.plugs[0].context, host.utils) };
}

/// The plugin's beginning: it offers what it offered before.
pub fn begin(host: &Host) {
    let (mut version, mut plugs, mut count) = (0, ptr::null_mut(), 0);
    let (version, place) = (&raw mut version, &raw mut plugs);
    let code = unsafe { sasl_server_plug_init(host.utils, 4, version, place, &raw mut count) };
    if code != OK || !ptr::eq(plugs, host.plugs.as_ptr()) || count as usize != host.plugs.len() {
        finding("a plugin that does not begin again");
    }
}
