/* An auxprop plugin that behaves as sql or ldapdb: a directory of users on a server, which does
 * not answer while the file that SSO_TEST_DIRECTORY names exists. */

#include <stdlib.h>
#include <string.h>
#include <sasl.h>
#include <saslplug.h>
#include <unistd.h>

static int lookup(void *context, sasl_server_params_t *params, unsigned flags, const char *user,
                  unsigned length)
{
    const char *stopped = getenv("SSO_TEST_DIRECTORY");
    (void)context, (void)params, (void)flags;
    /* ldapdb returns this for users whom it does not find. */
    if (length == 5 && memcmp(user, "ghost", 5) == 0)
        return SASL_FAIL;
    /* sql returns these during an outage, and for users whom it does not have. */
    return stopped && access(stopped, F_OK) == 0 ? SASL_FAIL : SASL_NOUSER;
}

static sasl_auxprop_plug_t plug = {.name = "directory", .auxprop_lookup = lookup};

int sasl_auxprop_plug_init(const sasl_utils_t *utils, int most, int *version,
                           sasl_auxprop_plug_t **found, const char *name)
{
    (void)utils, (void)name;
    if (most < SASL_AUXPROP_PLUG_VERSION)
        return SASL_BADVERS;
    *version = SASL_AUXPROP_PLUG_VERSION;
    *found = &plug;
    return SASL_OK;
}
