//! The host: libsasl2 with the plugin that is linked to this program, its options, its
//! passwords and its log.

use std::cell::{Cell, RefCell};
use std::ffi::{CStr, CString, c_char, c_int, c_uint, c_void};
use std::path::Path;
use std::ptr;
use std::sync::OnceLock;

use sso_core::credential::CredentialKind;

use super::finding;
use super::libsasl2::*;
use super::messages::{AUDIENCE, ISSUER, PASSWORD, SECRET};

/// The plugin's own table and the host's utilities, as the one gave and got them.
#[derive(Clone, Copy)]
pub struct Host {
    pub utils: *const c_void,
    pub plugs: &'static [Plug],
}

static OPTIONS: OnceLock<Vec<(CString, CString)>> = OnceLock::new();

thread_local! {
    /// The plugin, once it was asked.
    static HOST: Cell<Option<Host>> = const { Cell::new(None) };
    /// The parameters of the connection on which an exchange began last.
    pub static PARAMS: Cell<*mut Params> = const { Cell::new(ptr::null_mut()) };
    /// Of whom an ordinary password was good.
    pub static CHECKED: RefCell<Option<String>> = const { RefCell::new(None) };
    /// What must not be in the log.
    pub static SECRET_NOW: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Starts libsasl2 in this process, with all that it writes below `directory`.
pub fn start(directory: &Path, cas: u16) -> Host {
    let keys = directory.join("secret.pem");
    let secret = pem::encode(&pem::Pem::new("HMAC KEY", SECRET));
    std::fs::write(&keys, secret).expect("a file");
    // The system's are many, and read again each time that the plugin begins.
    let roots = directory.join("ca.pem");
    std::fs::write(&roots, include_str!("ca.pem")).expect("a file");
    let state = directory.join("state").display().to_string();
    let options = [
        ("caspt_url", format!("http://127.0.0.1:{cas}/cas")),
        ("caspt_proxies", "https://webmail.univ.example/*".to_owned()),
        ("caspt_ca_file", roots.display().to_string()),
        ("caspt_rate_limit", "60000".to_owned()),
        ("jwt_issuer", ISSUER.to_owned()),
        ("jwt_audience", AUDIENCE.to_owned()),
        ("jwt_keys", keys.display().to_string()),
        ("sso_plain", "yes".to_owned()),
        ("sso_strip_domain", "univ.example".to_owned()),
        ("sso_state_dir", state),
        ("sso_sessions", "500".to_owned()),
    ];
    let options = options.map(|(name, value)| (text(name), text(&value)));
    OPTIONS.set(options.to_vec()).expect("one host a process");
    let empty = directory.join("plugins");
    std::fs::create_dir(&empty).expect("a directory");
    let path = text(&empty.display().to_string()).into_raw();
    let callback = |id, procedure: *const c_void, context: *mut c_char| Callback {
        id,
        // SAFETY: libsasl2 calls each by the type that its id stands for (sasl.h,
        // sasl_callback_t).
        procedure: Some(unsafe { std::mem::transmute::<*const c_void, Procedure>(procedure) }),
        context: context.cast(),
    };
    let none = ptr::null_mut();
    let callbacks = Box::leak(Box::new([
        callback(CB_GETOPT, get_option as *const c_void, none),
        callback(CB_LOG, write_log as *const c_void, none),
        callback(CB_GETPATH, get_path as *const c_void, path),
        callback(CB_CHECKPASS, check_password as *const c_void, none),
        Callback {
            id: CB_LIST_END,
            procedure: None,
            context: ptr::null_mut(),
        },
    ]));
    // SAFETY: the callbacks live for ever, and nobody else is at libsasl2 yet.
    unsafe {
        assert_eq!(sasl_server_init(callbacks.as_ptr(), c"fuzz".as_ptr()), OK);
        assert_eq!(sasl_server_add_plugin(c"sso".as_ptr(), init), OK);
    }
    HOST.get().expect("a plugin that was asked")
}

fn text(text: &str) -> CString {
    CString::new(text).expect("text without NUL")
}

/// The plugin's `sasl_server_plug_init`; what it hands out is noted, and handed on with
/// a `mech_new` that notes what it is given.
unsafe extern "C" fn init(
    utils: *const c_void,
    max_version: c_int,
    version: *mut c_int,
    plugs: *mut *mut Plug,
    count: *mut c_int,
) -> c_int {
    // SAFETY: what libsasl2 gives goes on as it is.
    let code = unsafe { sasl_server_plug_init(utils, max_version, version, plugs, count) };
    if code != OK {
        finding("the plugin does not start");
    }
    // SAFETY: the plugin said that so many entries are there, for ever.
    let own = unsafe { std::slice::from_raw_parts(*plugs, *count as usize) };
    let noting = own.iter().map(|plug| {
        let mut plug = *plug;
        plug.new = Some(noting_new);
        plug
    });
    let noting: Vec<Plug> = noting.collect();
    // SAFETY: libsasl2's own place.
    unsafe { *plugs = noting.leak().as_mut_ptr() };
    HOST.set(Some(Host { utils, plugs: own }));
    code
}

unsafe extern "C" fn noting_new(
    context: *mut c_void,
    params: *mut Params,
    challenge: *const c_char,
    length: c_uint,
    exchange: *mut *mut c_void,
) -> c_int {
    PARAMS.set(params);
    let new = HOST
        .get()
        .and_then(|host| host.plugs[0].new)
        .expect("mech_new");
    // SAFETY: what libsasl2 gives goes on as it is.
    unsafe { new(context, params, challenge, length, exchange) }
}

unsafe extern "C" fn get_option(
    _: *mut c_void,
    _: *const c_char,
    option: *const c_char,
    result: *mut *const c_char,
    length: *mut c_uint,
) -> c_int {
    // SAFETY: the name of an option is a text (sasl.h, sasl_getopt_t).
    let option = unsafe { CStr::from_ptr(option) };
    let options = OPTIONS.get().expect("options");
    let Some((_, value)) = options.iter().find(|(name, _)| name.as_c_str() == option) else {
        return FAIL;
    };
    // SAFETY: the places are the caller's; that of the length may be null.
    unsafe {
        *result = value.as_ptr();
        if let Some(length) = length.as_mut() {
            *length = value.count_bytes() as c_uint;
        }
    }
    OK
}

unsafe extern "C" fn get_path(context: *mut c_void, path: *mut *const c_char) -> c_int {
    // SAFETY: the place is the caller's.
    unsafe { *path = context.cast() };
    OK
}

/// The log, in which no fault of ours must be, and no credential.
unsafe extern "C" fn write_log(_: *mut c_void, _: c_int, line: *const c_char) -> c_int {
    // SAFETY: a line is a text (sasl.h, sasl_log_t).
    let line = unsafe { CStr::from_ptr(line) }.to_string_lossy();
    if line.contains("internal error") || line.contains("internal_error") {
        finding(&line);
    }
    SECRET_NOW.with_borrow(|secret| {
        if secret
            .as_ref()
            .is_some_and(|secret| line.contains(secret.as_str()))
        {
            finding(&format!("a credential is in the log: {line}"));
        }
    });
    OK
}

/// The host's passwords: a ticket or a token must not come here.
unsafe extern "C" fn check_password(
    _: *mut Conn,
    _: *mut c_void,
    user: *const c_char,
    password: *const c_char,
    length: c_uint,
    _: *mut c_void,
) -> c_int {
    // SAFETY: the name is a text, and the password has so many bytes (sasl.h,
    // sasl_server_userdb_checkpass_t).
    let (user, password) = unsafe {
        let password = std::slice::from_raw_parts(password.cast::<u8>(), length as usize);
        (CStr::from_ptr(user).to_string_lossy(), password)
    };
    if CredentialKind::of_password(password).is_some() {
        finding("a credential is tried as a password");
    }
    if password != PASSWORD.as_bytes() {
        return BADAUTH;
    }
    CHECKED.replace(Some(user.into_owned()));
    OK
}
