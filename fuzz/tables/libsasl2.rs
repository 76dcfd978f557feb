//! What is called of libsasl2, by sasl.h and saslplug.h.

use std::ffi::{c_char, c_int, c_uint, c_ulong, c_void};

pub const OK: c_int = 0;
pub const CONTINUE: c_int = 1;
pub const NOMECH: c_int = -4;
pub const BADPARAM: c_int = -7;
pub const BADAUTH: c_int = -13;
pub const FAIL: c_int = -1;

pub const CB_LIST_END: c_ulong = 0;
pub const CB_GETOPT: c_ulong = 1;
pub const CB_LOG: c_ulong = 2;
pub const CB_GETPATH: c_ulong = 3;
pub const CB_CHECKPASS: c_ulong = 0x8005;

/// The properties of a connection that is logged in.
pub const USERNAME: c_int = 0;
pub const AUTHUSER: c_int = 16;

/// A connection; libsasl2's own.
pub enum Conn {}

/// A function of whatever type.
pub type Procedure = unsafe extern "C" fn() -> c_int;

#[repr(C)]
pub struct Callback {
    pub id: c_ulong,
    pub procedure: Option<Procedure>,
    pub context: *mut c_void,
}

/// The beginning of `sasl_server_params_t`.
#[repr(C)]
pub struct Params {
    texts: [*const c_char; 6],
    lengths: [c_uint; 6],
    log_level: c_int,
    pub utils: *const c_void,
}

/// `sasl_out_params_t`, with room behind it: libsasl2's own is zeroed, too.
#[repr(C)]
pub struct Out {
    pub done: c_uint,
    pub user: *const c_char,
    pub authid: *const c_char,
    pub user_length: c_uint,
    pub authid_length: c_uint,
    rest: [u64; 40],
}

impl Out {
    pub fn new() -> Self {
        Self {
            done: 0,
            user: std::ptr::null(),
            authid: std::ptr::null(),
            user_length: 0,
            authid_length: 0,
            rest: [0; 40],
        }
    }
}

pub type New = unsafe extern "C" fn(
    *mut c_void,
    *mut Params,
    *const c_char,
    c_uint,
    *mut *mut c_void,
) -> c_int;
pub type Step = unsafe extern "C" fn(
    *mut c_void,
    *mut Params,
    *const c_char,
    c_uint,
    *mut *const c_char,
    *mut c_uint,
    *mut Out,
) -> c_int;
pub type Dispose = unsafe extern "C" fn(*mut c_void, *const c_void);

/// `sasl_server_plug_t`: the entry of a mechanism.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Plug {
    pub name: *const c_char,
    pub max_ssf: c_uint,
    pub security_flags: c_uint,
    pub features: c_uint,
    pub context: *mut c_void,
    pub new: Option<New>,
    pub step: Option<Step>,
    pub dispose: Option<Dispose>,
    pub free: Option<Dispose>,
    rest: [*const c_void; 5],
}

pub type Init =
    unsafe extern "C" fn(*const c_void, c_int, *mut c_int, *mut *mut Plug, *mut c_int) -> c_int;

unsafe extern "C" {
    /// The plugin's, which is linked to this program.
    pub fn sasl_server_plug_init(
        utils: *const c_void,
        max_version: c_int,
        version: *mut c_int,
        plugs: *mut *mut Plug,
        count: *mut c_int,
    ) -> c_int;
}

#[link(name = "libsasl2.so.2", kind = "dylib", modifiers = "+verbatim")]
unsafe extern "C" {
    pub fn sasl_server_init(callbacks: *const Callback, name: *const c_char) -> c_int;
    pub fn sasl_server_add_plugin(name: *const c_char, init: Init) -> c_int;
    pub fn sasl_server_new(
        service: *const c_char,
        host: *const c_char,
        realm: *const c_char,
        local: *const c_char,
        remote: *const c_char,
        callbacks: *const Callback,
        flags: c_uint,
        conn: *mut *mut Conn,
    ) -> c_int;
    pub fn sasl_server_start(
        conn: *mut Conn,
        mechanism: *const c_char,
        message: *const c_char,
        length: c_uint,
        out: *mut *const c_char,
        out_length: *mut c_uint,
    ) -> c_int;
    pub fn sasl_server_step(
        conn: *mut Conn,
        message: *const c_char,
        length: c_uint,
        out: *mut *const c_char,
        out_length: *mut c_uint,
    ) -> c_int;
    pub fn sasl_getprop(conn: *mut Conn, property: c_int, value: *mut *const c_void) -> c_int;
    pub fn sasl_dispose(conn: *mut *mut Conn);
}
