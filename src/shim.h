/* What bindgen sees: libsasl2's plugin interface, and plain functions in the
 * place of its variadic ones. */
#include <stddef.h>
#include "sasl.h"
#include "saslplug.h"

/* Both take a finished message, never a format. They do nothing if the host
 * does not provide the function. */
void sso_log(const sasl_utils_t *utils, int level, const char *message);
void sso_seterror(const sasl_utils_t *utils, const char *message);
