//! Safe wrappers of the host's functions: options, the log, user names.

use std::ffi::{CStr, CString, c_char, c_int, c_uint};
use std::ptr;

use zeroize::Zeroizing;

use crate::ffi;
use sso_core::config::Options;
use sso_core::error::{Failure, Reason};
use sso_core::platform::log::{Level, Log};
use sso_core::protocol::plain::Plain;

const OK: c_int = ffi::SASL_OK as c_int;

/// The host's utilities during one call of the host. The utilities of a connection end with the
/// connection.
#[derive(Clone, Copy)]
pub(crate) struct Utils<'call>(&'call ffi::sasl_utils_t);

impl<'call> Utils<'call> {
    /// Wraps the utilities, or returns `None` if the pointer is null.
    ///
    /// # Safety
    /// `utils` must be null or the pointer that libsasl2 passed to the current call.
    pub(crate) unsafe fn new(utils: *const ffi::sasl_utils_t) -> Option<Self> {
        // SAFETY: libsasl2 passes a table that lives at least as long as the call (saslplug.h,
        // sasl_utils_t).
        unsafe { utils.as_ref() }.map(Self)
    }

    /// Sets the text of a failure. Hosts may show it to the client (Postfix does), so it must not
    /// reveal the reason.
    pub(crate) fn set_error(self, text: &str) {
        let text = c_string(text);
        // SAFETY: the shim passes the text as data, never as a format.
        unsafe { ffi::sso_seterror(self.0, text.as_ptr()) }
    }
}

impl Options for Utils<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let getopt = self.0.getopt?;
        let name = CString::new(name).ok()?;
        let mut value: *const c_char = ptr::null();
        let mut length: c_uint = 0;
        // SAFETY: the callback and its context belong together (saslplug.h). No plugin name is
        // passed: SASL configuration files ignore it, so the name of the option contains the
        // prefix.
        let result = unsafe {
            getopt(
                self.0.getopt_context,
                ptr::null(),
                name.as_ptr(),
                &mut value,
                &mut length,
            )
        };
        if result != ffi::SASL_OK as c_int || value.is_null() {
            return None;
        }
        // SAFETY: on success the value is a NUL-terminated string that lives until the next getopt
        // in this thread (sasl.h, sasl_getopt_t). It is copied before that.
        let value = unsafe { CStr::from_ptr(value) };
        Some(value.to_string_lossy().into_owned())
    }
}

impl Log for Utils<'_> {
    fn write(&self, level: Level, line: &str) {
        let level = match level {
            Level::Error => ffi::SASL_LOG_ERR,
            Level::Warning => ffi::SASL_LOG_WARN,
            Level::Notice => ffi::SASL_LOG_NOTE,
        };
        let line = c_string(line);
        // SAFETY: the shim passes the line as data, never as a format.
        unsafe { ffi::sso_log(self.0, level as c_int, line.as_ptr()) }
    }
}

/// The parameters of a connection, during one call of the host.
#[derive(Clone, Copy)]
pub(crate) struct Connection<'call> {
    params: &'call ffi::sasl_server_params_t,
    utils: Utils<'call>,
}

impl<'call> Connection<'call> {
    /// Wraps the parameters, or returns `None` if a pointer is null.
    ///
    /// # Safety
    /// `params` must be null or the pointer that libsasl2 passed to the current call.
    pub(crate) unsafe fn new(params: *const ffi::sasl_server_params_t) -> Option<Self> {
        // SAFETY: libsasl2 passes a structure that lives at least as long as the call, and in it
        // the connection's utilities (saslplug.h, sasl_server_params_t).
        unsafe {
            let params = params.as_ref()?;
            let utils = Utils::new(params.utils)?;
            Some(Self { params, utils })
        }
    }

    pub(crate) fn utils(self) -> Utils<'call> {
        self.utils
    }

    /// The name of the service, such as `imap`.
    pub(crate) fn service(self) -> String {
        text(self.params.service).unwrap_or_default()
    }

    /// The name of the host.
    pub(crate) fn host(self) -> String {
        text(self.params.serverFQDN).unwrap_or_default()
    }

    /// The client's address and port, such as `192.0.2.1;4711`.
    pub(crate) fn client(self) -> Option<String> {
        text(self.params.ipremoteport).filter(|address| !address.is_empty())
    }

    /// Has the host canonicalize `user` and set it as the authentication identity of `result`.
    /// Returns the canonical name.
    pub(crate) fn set_authentication_id(
        self,
        user: &str,
        result: &mut ffi::sasl_out_params_t,
    ) -> Result<String, Failure> {
        self.canonicalize(user, ffi::SASL_CU_AUTHID, result)?;
        Ok(text(result.authid).unwrap_or_default())
    }

    /// Has the host canonicalize `user` and set it as both identities of `result`. Returns the
    /// canonical name.
    pub(crate) fn set_both_ids(
        self,
        user: &str,
        result: &mut ffi::sasl_out_params_t,
    ) -> Result<String, Failure> {
        let both = ffi::SASL_CU_AUTHID | ffi::SASL_CU_AUTHZID;
        self.canonicalize(user, both, result)?;
        Ok(text(result.authid).unwrap_or_default())
    }

    /// Has the host canonicalize `user` and set it as the authorization identity of `result`.
    /// Returns the canonical name.
    pub(crate) fn set_authorization_id(
        self,
        user: &str,
        result: &mut ffi::sasl_out_params_t,
    ) -> Result<String, Failure> {
        self.canonicalize(user, ffi::SASL_CU_AUTHZID, result)?;
        Ok(text(result.user).unwrap_or_default())
    }

    fn canonicalize(
        self,
        user: &str,
        which: c_uint,
        result: &mut ffi::sasl_out_params_t,
    ) -> Result<(), Failure> {
        // Without this flag libsasl2 looks the user up in its auxprop plugins, and there may be
        // none.
        let flags = which | ffi::SASL_CU_EXTERNALLY_VERIFIED;
        match self.canonicalize_bytes(user.as_bytes(), flags, result) {
            OK => Ok(()),
            // sql and ldapdb return these codes while their server does not answer. ldapdb also
            // returns one for a user that does not exist; to treat that as an outage keeps the
            // sessions of existing users.
            code @ (ffi::SASL_FAIL
            | ffi::SASL_NOMEM
            | ffi::SASL_NOMECH
            | ffi::SASL_TRYAGAIN
            | ffi::SASL_UNAVAIL) => {
                let what = format!("the host could not look up the name {user} (code {code})");
                Err(Failure::new(Reason::UserLookupFailed, what))
            }
            code => {
                let what = format!("the host does not take the name {user} (code {code})");
                Err(Failure::new(Reason::UserNotAccepted, what))
            }
        }
    }

    /// Canonicalizes a name in any encoding. Returns the host's result code.
    fn canonicalize_bytes(
        self,
        user: &[u8],
        flags: c_uint,
        result: &mut ffi::sasl_out_params_t,
    ) -> c_int {
        let (Some(canon_user), Ok(length)) = (self.params.canon_user, c_uint::try_from(user.len()))
        else {
            return ffi::SASL_FAIL;
        };
        // The host removes white space and may append a realm to the rest. With a length of 0 it
        // would use strlen instead.
        let is_space = |byte: &u8| byte.is_ascii_whitespace() || *byte == b'\x0b';
        if user.iter().all(is_space) {
            return ffi::SASL_BADPROT;
        }
        let user = terminated(user);
        // SAFETY: libsasl2 copies `length` bytes of the name (saslplug.h, canon_user). If a realm
        // is configured, it first searches an @ up to the NUL (strchr in _canonuser_internal),
        // which exists. It writes to its own `result`.
        let code = unsafe {
            canon_user(
                self.utils.0.conn,
                user.as_ptr().cast(),
                length,
                flags,
                result,
            )
        };
        // The host removes white space at both ends and does not check that something remains: a
        // name of white space would become an empty name.
        let is_nobody = |which, length| flags & which != 0 && length == 0;
        if code == OK
            && (is_nobody(ffi::SASL_CU_AUTHID, result.alen)
                || is_nobody(ffi::SASL_CU_AUTHZID, result.ulen))
        {
            return ffi::SASL_BADPROT;
        }
        code
    }

    /// Has the host check an ordinary password, and sets both identities with the flags and in the
    /// order of libplain.so 2.1.28: authentication identity, password, authorization identity.
    /// (libplain.so also erases requested properties; imapd and Postfix request none.) Returns the
    /// host's result code.
    pub(crate) fn check_password(
        self,
        Plain {
            authzid,
            authcid,
            password,
        }: &Plain<'_>,
        result: &mut ffi::sasl_out_params_t,
    ) -> c_int {
        let acts_as_itself = authzid.is_empty() || authzid == authcid;
        let both = if acts_as_itself {
            ffi::SASL_CU_AUTHZID
        } else {
            0
        };
        let flags = ffi::SASL_CU_AUTHID | both | ffi::SASL_CU_EXTERNALLY_VERIFIED;
        match self.canonicalize_bytes(authcid, flags, result) {
            OK => {}
            code => return code,
        }
        let (Some(checkpass), Ok(length)) =
            (self.utils.0.checkpass, c_uint::try_from(password.len()))
        else {
            return ffi::SASL_FAIL;
        };
        let password = terminated(password);
        // SAFETY: libsasl2 reads that number of bytes of either text. Both end in NUL (saslplug.h,
        // checkpass). libsasl2 has just written the name.
        let code = unsafe {
            checkpass(
                self.utils.0.conn,
                result.authid,
                result.alen,
                password.as_ptr().cast(),
                length,
            )
        };
        if code != OK {
            self.utils.set_error("Password verification failed");
            return code;
        }
        if acts_as_itself {
            return OK;
        }
        self.canonicalize_bytes(authzid, ffi::SASL_CU_AUTHZID, result)
    }
}

/// Returns `bytes` with a NUL appended. The copy is overwritten when it is dropped.
fn terminated(bytes: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut copy = Zeroizing::new(Vec::with_capacity(bytes.len() + 1));
    copy.extend_from_slice(bytes);
    copy.push(0);
    copy
}

/// Copies a text of the host.
fn text(pointer: *const c_char) -> Option<String> {
    if pointer.is_null() {
        return None;
    }
    // SAFETY: the texts of sasl_server_params_t and sasl_out_params_t are NUL-terminated and live
    // as long as the call (saslplug.h).
    let text = unsafe { CStr::from_ptr(pointer) };
    Some(text.to_string_lossy().into_owned())
}

/// Returns `text` up to its first NUL.
fn c_string(text: &str) -> CString {
    CString::new(text).unwrap_or_else(|error| {
        let end = error.nul_position();
        CString::new(&text[..end]).unwrap_or_default()
    })
}
