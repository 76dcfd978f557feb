#include "shim.h"

void sso_log(const sasl_utils_t *utils, int level, const char *message)
{
    if (utils->log)
        utils->log(utils->conn, level, "%s", message);
}

void sso_seterror(const sasl_utils_t *utils, const char *message)
{
    /* Without SASL_NOLOG libsasl2 would log the text once more. */
    if (utils->seterror)
        utils->seterror(utils->conn, SASL_NOLOG, "%s", message);
}
