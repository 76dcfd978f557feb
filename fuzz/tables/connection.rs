//! A connection, as libsasl2 has it.

use std::ffi::{CStr, c_int, c_uint};
use std::ptr;

use super::finding;
use super::host::{CHECKED, PARAMS, SECRET_NOW};
use super::libsasl2::*;
use super::messages::{Draw, Message};

const MECHANISMS: [&CStr; 4] = [c"CASPT", c"PLAIN", c"OAUTHBEARER", c"XOAUTH2"];

pub struct Connection {
    conn: *mut Conn,
    mechanism: &'static CStr,
    /// The first message of the exchange that is under way.
    first: Option<Message>,
    params: Option<*mut Params>,
}

impl Connection {
    pub fn new(draw: &mut Draw<'_>) -> Self {
        let service = draw.one(&[c"imap", c"pop", c"sieve", c"smtp"]);
        let remote = draw.one(&[Some(c"192.0.2.1;4711"), Some(c"2001:db8::1;4711"), None]);
        let remote = remote.map_or(ptr::null(), CStr::as_ptr);
        let none = ptr::null();
        let mut conn = ptr::null_mut();
        let (host, place) = (c"imap.univ.example".as_ptr(), &raw mut conn);
        let code = unsafe {
            sasl_server_new(
                service.as_ptr(),
                host,
                none,
                none,
                remote,
                ptr::null(),
                0,
                place,
            )
        };
        assert_eq!(code, OK);
        Self {
            conn,
            mechanism: MECHANISMS[0],
            first: None,
            params: None,
        }
    }

    /// What libsasl2 tells the plugin of this connection, once it has.
    pub fn params(&self) -> Option<*mut Params> {
        self.params
    }

    pub fn start(&mut self, draw: &mut Draw<'_>, is_freed: bool) {
        self.mechanism = draw.one(&MECHANISMS);
        let message = Message::draw(self.mechanism.to_str().unwrap_or_default(), draw);
        // One in sixteen has no initial response.
        let is_there = draw.byte() < 0xf0;
        forget(&message);
        PARAMS.set(ptr::null_mut());
        let (mut out, mut length) = (ptr::null(), 0);
        let bytes = is_there.then_some(&message.bytes);
        let code = unsafe {
            let (pointer, count) = raw(bytes.map(|bytes| &bytes[..]));
            let name = self.mechanism.as_ptr();
            sasl_server_start(
                self.conn,
                name,
                pointer,
                count,
                &raw mut out,
                &raw mut length,
            )
        };
        if let Some(params) = Some(PARAMS.get()).filter(|params| !params.is_null()) {
            self.params = Some(params);
        }
        if is_freed && code == OK {
            finding("a login after the end of the plugin");
        }
        self.first = is_there.then_some(message);
        self.check(code, (out, length));
    }

    pub fn step(&mut self, draw: &mut Draw<'_>) {
        // libsasl2 itself looks for the mechanism where none is before the first start.
        if self.params.is_none() {
            return;
        }
        let message = Message::draw(self.mechanism.to_str().unwrap_or_default(), draw);
        forget(&message);
        let (mut out, mut length) = (ptr::null(), 0);
        let code = unsafe {
            let (pointer, count) = raw(Some(&message.bytes));
            sasl_server_step(self.conn, pointer, count, &raw mut out, &raw mut length)
        };
        self.first.get_or_insert(message);
        self.check(code, (out, length));
    }

    /// Who is logged in has sent what he must, and what goes to the client is there.
    fn check(&self, code: c_int, (out, length): (*const std::ffi::c_char, c_uint)) {
        if code == CONTINUE && length > 0 {
            let challenge =
                unsafe { std::slice::from_raw_parts(out.cast::<u8>(), length as usize) };
            if serde_json::from_slice::<serde_json::Value>(challenge).is_err() {
                finding("a challenge that is no JSON");
            }
        }
        if code != OK {
            return;
        }
        let user = self.property(AUTHUSER);
        let acts_as = self.property(USERNAME);
        let message = self.first.as_ref();
        let was_checked = CHECKED.with_borrow(|checked| checked.as_ref() == Some(&user));
        if !was_checked && !message.is_some_and(|message| message.may_be(&user)) {
            finding(&format!("{user} was logged in by nothing"));
        }
        // Without a word from the host nobody acts as another.
        if user != acts_as {
            finding(&format!("{user} acts as {acts_as}"));
        }
        if length > 0 {
            finding("more to be sent at the end");
        }
    }

    fn property(&self, property: c_int) -> String {
        let mut value = ptr::null();
        // SAFETY: both properties are texts (sasl.h, sasl_getprop).
        unsafe {
            assert_eq!(sasl_getprop(self.conn, property, &raw mut value), OK);
            CStr::from_ptr(value.cast()).to_string_lossy().into_owned()
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        unsafe { sasl_dispose(&raw mut self.conn) };
    }
}

/// From now on this message's credential must not be in the log, and no password was
/// good yet.
pub fn forget(message: &Message) {
    SECRET_NOW.replace(message.credential.clone().filter(|text| text.len() > 8));
    CHECKED.replace(None);
}

/// Bytes as C has them.
pub fn raw(bytes: Option<&[u8]>) -> (*const std::ffi::c_char, c_uint) {
    let pointer = bytes.map_or(ptr::null(), |bytes| bytes.as_ptr().cast());
    (pointer, bytes.map_or(0, |bytes| bytes.len() as c_uint))
}
