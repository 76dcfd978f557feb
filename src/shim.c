#include "shim.h"

#include <stdlib.h>
#include <syslog.h>

/* Whether libsasl2 would write a line to syslog by itself, as it does where the
 * host has no log callback, and for every line without a connection: it knows the
 * host's callbacks by the connection alone. */
static int goes_to_default_log(const sasl_utils_t *utils)
{
    sasl_callback_ft hosts = NULL, default_log = NULL;
    void *context;

    if (!utils->conn)
        return 1;
    return utils->getcallback
           && utils->getcallback(utils->conn, SASL_CB_LOG, &hosts, &context) == SASL_OK
           && utils->getcallback(NULL, SASL_CB_LOG, &default_log, &context) == SASL_OK
           && hosts == default_log;
}

/* Whether log_level asks for lines of this level; libsasl2 asks so of connections
 * alone. */
static int is_asked_for(const sasl_utils_t *utils, int level)
{
    const char *text = NULL;
    unsigned length = 0;
    int limit = SASL_LOG_ERR;

    if (utils->conn && utils->getopt
        && utils->getopt(utils->getopt_context, NULL, "log_level", &text, &length) == SASL_OK
        && text)
        limit = atoi(text);
    return level <= limit;
}

static int priority(int level)
{
    switch (level) {
    case SASL_LOG_ERR:
        return LOG_ERR;
    case SASL_LOG_WARN:
        return LOG_WARNING;
    default:
        return LOG_NOTICE;
    }
}

void sso_log(const sasl_utils_t *utils, int level, const char *message)
{
    if (goes_to_default_log(utils)) {
        /* libsasl2 would name the facility auth. Without one, the line goes where
         * the host's own lines go: to the facility of its openlog(3). */
        if (is_asked_for(utils, level))
            syslog(priority(level), "%s", message);
    } else if (utils->log) {
        utils->log(utils->conn, level, "%s", message);
    }
}

void sso_seterror(const sasl_utils_t *utils, const char *message)
{
    /* Without SASL_NOLOG libsasl2 would log the text once more. */
    if (utils->seterror)
        utils->seterror(utils->conn, SASL_NOLOG, "%s", message);
}
