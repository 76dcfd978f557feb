//! The functions that the host calls and the table that it reads. They check pointers, catch panics
//! and call safe code.

use std::ffi::{c_char, c_int, c_uint, c_void};
use std::ptr;
use std::sync::Arc;

use parking_lot::RwLock;

use crate::exchange::Exchange;
use crate::ffi;
use crate::host_utils::{Connection, Utils};
use crate::mechanism::Mechanism;
use crate::panic_guard::{guarded, install_hook};
use sso_core::auth::Authenticator;
use sso_core::config::Config;
use sso_core::platform::build_info::STAMP;
use sso_core::platform::clock::SystemClock;
use sso_core::platform::log::{Level, Log};

const OK: c_int = ffi::SASL_OK as c_int;

/// The authenticator, from initialization to release. Each connection holds a reference of its own.
static AUTHENTICATOR: RwLock<Option<Arc<Authenticator>>> = RwLock::new(None);

/// A table of mechanisms. The host keeps a pointer to it for the life of the process.
struct Table<const N: usize>([ffi::sasl_server_plug_t; N]);

// SAFETY: the table is constant. Its pointers point to constants and functions, or are integers.
unsafe impl<const N: usize> Sync for Table<N> {}

/// In both tables, mechanisms that can be configured together are adjacent: the offered mechanisms
/// are a slice of one table.
static WITH_PLAIN: Table<4> = Table([
    plug(Mechanism::Caspt),
    plug(Mechanism::Plain),
    plug(Mechanism::OAuthBearer),
    plug(Mechanism::XOAuth2),
]);

static WITHOUT_PLAIN: Table<3> = Table([
    plug(Mechanism::Caspt),
    plug(Mechanism::OAuthBearer),
    plug(Mechanism::XOAuth2),
]);

/// The table entry of a mechanism. Its context is the mechanism's number, which the host passes
/// back.
const fn plug(mechanism: Mechanism) -> ffi::sasl_server_plug_t {
    // As libplain.so does: the credential is sent in the clear, so the host requires TLS unless the
    // administrator allows plain text. Without NOPLAINTEXT that is what the host enforces.
    let flags = ffi::SASL_SEC_NOANONYMOUS | ffi::SASL_SEC_PASS_CREDENTIALS;
    ffi::sasl_server_plug_t {
        mech_name: mechanism.name().as_ptr(),
        max_ssf: 0,
        security_flags: match mechanism {
            Mechanism::Plain => flags | AHEAD_OF_OTHERS,
            _ => flags,
        },
        features: ffi::SASL_FEAT_WANT_CLIENT_FIRST | ffi::SASL_FEAT_ALLOWS_PROXY,
        glob_context: ptr::without_provenance_mut(mechanism as usize),
        mech_new: Some(mech_new),
        mech_step: Some(mech_step),
        mech_dispose: Some(mech_dispose),
        mech_free: Some(mech_free),
        setpass: None,
        user_query: None,
        idle: None,
        mech_avail: None,
        spare_fptr2: None,
    }
}

/// A strength that ranks the plugin's PLAIN above that of libplain.so, whichever is loaded first.
/// libsasl2 sorts mechanisms of the same name by strength, and these bits have no other purpose
/// (sasl.h, `SASL_SET_HASH_STRENGTH_BITS(8)`). libsasl2 2.1.27 ignores them and uses the order of
/// loading.
const AHEAD_OF_OTHERS: c_uint = 1 << 16;

/// Returns the handler of a panic: it fails the login and logs the location.
fn on_panic(utils: Option<Utils<'_>>) -> impl FnOnce(&str) -> c_int {
    move |place| {
        if let Some(utils) = utils {
            let line = format!("sso: internal error at {place}; please report it with {STAMP}");
            utils.write(Level::Error, &line);
        }
        ffi::SASL_FAIL
    }
}

/// The entry point of a SASL server plugin (saslplug.h, `sasl_server_plug_init_t`). Every SASL
/// server on the host calls it. It reads the options and does nothing else.
///
/// # Safety
/// Only libsasl2 may call it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn sasl_server_plug_init(
    utils: *const ffi::sasl_utils_t,
    max_version: c_int,
    out_version: *mut c_int,
    plug_list: *mut *mut ffi::sasl_server_plug_t,
    plug_count: *mut c_int,
) -> c_int {
    install_hook();
    // SAFETY: libsasl2 passes its global utilities.
    let utils = unsafe { Utils::new(utils) };
    guarded(on_panic(utils), || {
        let Some(utils) = utils else {
            return ffi::SASL_BADPARAM;
        };
        if out_version.is_null() || plug_list.is_null() || plug_count.is_null() {
            return ffi::SASL_BADPARAM;
        }
        if max_version < ffi::SASL_SERVER_PLUG_VERSION as c_int {
            return ffi::SASL_BADVERS;
        }
        let offered = match Config::read(&utils) {
            Ok(config) => {
                for warning in &config.warnings {
                    utils.write(Level::Warning, &format!("sso: sasl_{warning}"));
                }
                let offered = offered(&config);
                if !offered.is_empty() {
                    let authenticator = Authenticator::new(config, Arc::new(SystemClock));
                    *AUTHENTICATOR.write() = Some(Arc::new(authenticator));
                }
                offered
            }
            Err(faults) => {
                for fault in faults {
                    let line = format!("sso: single sign-on is not offered: sasl_{fault}");
                    utils.write(Level::Error, &line);
                }
                return ffi::SASL_FAIL;
            }
        };
        // SAFETY: the pointers are libsasl2's own output parameters and not null. libsasl2 only
        // reads the table.
        unsafe {
            *out_version = ffi::SASL_SERVER_PLUG_VERSION as c_int;
            *plug_list = offered.as_ptr().cast_mut();
            *plug_count = offered.len() as c_int;
        }
        OK
    })
}

/// Returns the table entries of the configured mechanisms.
fn offered(config: &Config) -> &'static [ffi::sasl_server_plug_t] {
    let is_configured = |mechanism: &Mechanism| mechanism.is_configured(config);
    let table = match config.plain {
        true => &WITH_PLAIN.0[..],
        false => &WITHOUT_PLAIN.0,
    };
    let first = if config.cas.is_some() { 0 } else { 1 };
    let count = Mechanism::ALL.into_iter().filter(is_configured).count();
    &table[first..][..count]
}

unsafe extern "C" fn mech_new(
    glob_context: *mut c_void,
    params: *mut ffi::sasl_server_params_t,
    _challenge: *const c_char,
    _challenge_length: c_uint,
    context: *mut *mut c_void,
) -> c_int {
    // SAFETY: libsasl2 passes the connection's parameters.
    let connection = unsafe { Connection::new(params) };
    guarded(on_panic(connection.map(Connection::utils)), || {
        let Some(connection) = connection else {
            return ffi::SASL_BADPARAM;
        };
        if context.is_null() {
            return ffi::SASL_BADPARAM;
        }
        let exchange = || {
            let mechanism = *Mechanism::ALL.get(glob_context.addr())?;
            let authenticator = AUTHENTICATOR.read().clone()?;
            Exchange::new(authenticator, mechanism, connection)
        };
        let Some(exchange) = exchange() else {
            return ffi::SASL_NOMECH;
        };
        // SAFETY: the pointer is libsasl2's own output parameter for the context that it passes to
        // mech_step and mech_dispose, and not null.
        unsafe { *context = Box::into_raw(Box::new(exchange)).cast() };
        OK
    })
}

unsafe extern "C" fn mech_step(
    context: *mut c_void,
    params: *mut ffi::sasl_server_params_t,
    client_in: *const c_char,
    client_in_length: c_uint,
    server_out: *mut *const c_char,
    server_out_length: *mut c_uint,
    result: *mut ffi::sasl_out_params_t,
) -> c_int {
    // SAFETY: libsasl2 passes the connection's parameters.
    let connection = unsafe { Connection::new(params) };
    guarded(on_panic(connection.map(Connection::utils)), || {
        // SAFETY: the context is null or was created by mech_new, and libsasl2 makes one call at a
        // time for a connection.
        let exchange = unsafe { context.cast::<Exchange>().as_mut() };
        // SAFETY: the pointer is null or libsasl2's own, for the result of this connection.
        let result = unsafe { result.as_mut() };
        let (Some(connection), Some(exchange), Some(result)) = (connection, exchange, result)
        else {
            return ffi::SASL_BADPARAM;
        };
        if server_out.is_null() || server_out_length.is_null() {
            return ffi::SASL_BADPARAM;
        }
        let message = if client_in.is_null() {
            &[]
        } else {
            // SAFETY: that number of bytes is readable (saslplug.h, mech_step). They need not end
            // in NUL.
            unsafe { std::slice::from_raw_parts(client_in.cast(), client_in_length as usize) }
        };
        let code = exchange.step(connection, message, result);
        let (mut out, mut out_length) = (ptr::null(), 0);
        if code == ffi::SASL_CONTINUE as c_int {
            let challenge = exchange.challenge();
            out = challenge.as_ptr().cast();
            out_length = c_uint::try_from(challenge.len()).unwrap_or(0);
        } else if code == OK {
            finish(result);
        }
        // SAFETY: the pointers are libsasl2's own and not null. The challenge lives in the exchange
        // until the next call for this connection.
        unsafe {
            *server_out = out;
            *server_out_length = out_length;
        }
        code
    })
}

/// Marks the exchange as complete, without a security layer. `result` contains the two identities
/// already.
fn finish(result: &mut ffi::sasl_out_params_t) {
    result.doneflag = 1;
    result.maxoutbuf = 0;
    result.mech_ssf = 0;
    result.encode_context = ptr::null_mut();
    result.encode = None;
    result.decode_context = ptr::null_mut();
    result.decode = None;
    result.param_version = 0;
}

/// libsasl2 may call this a second time with a null context.
unsafe extern "C" fn mech_dispose(context: *mut c_void, utils: *const ffi::sasl_utils_t) {
    // SAFETY: libsasl2 passes the connection's utilities.
    let utils = unsafe { Utils::new(utils) };
    guarded(on_panic(utils), || {
        if !context.is_null() {
            // SAFETY: mech_new created the context. It is freed once, because libsasl2 clears its
            // pointer.
            let exchange = unsafe { Box::from_raw(context.cast::<Exchange>()) };
            if let Some(utils) = utils {
                exchange.end(&utils);
            }
        }
        OK
    });
}

unsafe extern "C" fn mech_free(_glob_context: *mut c_void, utils: *const ffi::sasl_utils_t) {
    // SAFETY: libsasl2 passes its global utilities.
    let utils = unsafe { Utils::new(utils) };
    guarded(on_panic(utils), || {
        *AUTHENTICATOR.write() = None;
        OK
    });
}
