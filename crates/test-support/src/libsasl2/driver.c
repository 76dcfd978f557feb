/* A minimal SASL server: the real libsasl2 with the plugin. It reads commands
 * from standard input and writes results to standard output. The tests run it,
 * also under valgrind, and the benchmarks measure it.
 *
 * driver PLUGIN-DIRECTORY [OPTION=VALUE]...
 *
 *   list                       prints: mechs NAME...
 *   unasked                    prints: unasked OPTION..., the options that nothing
 *                              has read
 *   login MECH MESSAGE [...]   one exchange; messages in hexadecimal, "-" for
 *                              none. Prints: step CODE CHALLENGE, then
 *                              end CODE AUTHID AUTHZID
 *   fuzz MECH COUNT SEED       random exchanges; prints: fuzz SUCCESSES
 *   time MECH COUNT MESSAGE    measures COUNT calls of sasl_server_start; prints:
 *                              time CODE NANOSECONDS MEDIAN WHOLE, where WHOLE is
 *                              the median including sasl_server_new and
 *                              sasl_dispose
 *   messages FILE              reads messages for the commands below, one per
 *                              line, unencoded; prints: messages COUNT
 *   walk MECH COUNT            like time, with the next COUNT messages; the first
 *                              follows the last
 *   checkpass COUNT USER PASS  like time, for sasl_checkpass
 *   versus MECH COUNT A B      COUNT logins by message A or B, in random order;
 *                              prints: versus CODE-OF-A CODE-OF-B T, where T is
 *                              near 0 if both take the same time
 *   quiet 1                    suppresses log lines until: quiet 0
 *   reload                     sasl_done and sasl_server_init; prints: reload CODE
 *
 * Faults of the host application (faults.h). Each command prints its own name.
 * ENDS are four numbers: exchanges that were accepted, refused, failed with an
 * outage, and failed otherwise.
 *
 *   many MECH COUNT MESSAGE [new]  COUNT exchanges; with "new" a number is
 *                              appended to make each message different; prints ENDS
 *   each MECH COUNT            exchanges with the next COUNT messages; prints ENDS
 *   fork                       forks; the child executes the commands until: leave
 *   hoard N                    leaves N free descriptors; "-" for all
 *   limit N                    leaves N kB of address space; "-" for all
 *   reloads COUNT MECH MESSAGE COUNT times reload and an exchange; prints ENDS
 *   loads COUNT                COUNT times dlopen and dlclose of the plugin
 *   crowd COUNT EVERY MECH GOOD BAD  forks COUNT children, which have one exchange
 *                              each and then wait until the driver ends. The
 *                              message is GOOD, but for each EVERYth child BAD
 *                              with a number appended; prints ENDS
 *   seize FILE                 takes the first lock of a sync file, and keeps it
 *   release                    releases it
 *   threads N COUNT MECH       N threads with COUNT exchanges each, with all
 *                              messages; prints ENDS. Needs SSO_TEST_THREADS.
 *
 * Log lines are printed as: log LEVEL TEXT. timing.h and versus.h contain the
 * commands that measure. */
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "sasl.h"

static char **options;
static char *directory;
static const char *remote, *realm;
static int is_quiet;
static char was_read[64];

static int get_option(void *context, const char *plugin, const char *option,
                      const char **result, unsigned *len)
{
    size_t length = strlen(option);
    (void)context, (void)plugin;
    for (char **given = options; *given; given++) {
        if (strncmp(*given, option, length) == 0 && (*given)[length] == '=') {
            *result = *given + length + 1;
            if (given - options < (long)sizeof was_read)
                was_read[given - options] = 1;
            if (len)
                *len = strlen(*result);
            return SASL_OK;
        }
    }
    return SASL_FAIL;
}

static int write_log(void *context, int level, const char *message)
{
    (void)context;
    if (!is_quiet)
        printf("log %d %s\n", level, message);
    return SASL_OK;
}

static int get_path(void *context, char **path)
{
    (void)context;
    *path = directory;
    return SASL_OK;
}

static const sasl_callback_t callbacks[] = {
    {SASL_CB_GETOPT, (int (*)(void))get_option, NULL},
    {SASL_CB_LOG, (int (*)(void))write_log, NULL},
    {SASL_CB_GETPATH, (int (*)(void))get_path, NULL},
    {SASL_CB_LIST_END, NULL, NULL},
};

static void fail(const char *what, int code)
{
    printf("failed %s %d\n", what, code);
    exit(1);
}

static sasl_conn_t *connection(void)
{
    sasl_conn_t *conn;
    int code = sasl_server_new("imap", "localhost", realm, NULL, remote, NULL, 0, &conn);
    if (code != SASL_OK)
        fail("sasl_server_new", code);
    return conn;
}

/* Decodes hexadecimal digits. Returns NULL, which stands for no message, for "-". */
static char *bytes(const char *hex, unsigned *length)
{
    if (strcmp(hex, "-") == 0) {
        *length = 0;
        return NULL;
    }
    *length = strlen(hex) / 2;
    /* The buffer is exactly as long as the message, so that valgrind reports a
     * read beyond its end. */
    char *message = malloc(*length ? *length : 1);
    for (unsigned i = 0; i < *length; i++) {
        const char digits[] = {hex[2 * i], hex[2 * i + 1], '\0'};
        message[i] = (char)strtoul(digits, NULL, 16);
    }
    return message;
}

static void login(char *arguments)
{
    char *rest, *mech = strtok_r(arguments, " ", &rest), *hex;
    const char *out;
    unsigned length, out_length;
    sasl_conn_t *conn = connection();
    int code = SASL_CONTINUE, started = 0;
    while (code == SASL_CONTINUE && (hex = strtok_r(NULL, " ", &rest))) {
        char *message = bytes(hex, &length);
        out = NULL, out_length = 0;
        if (started++)
            code = sasl_server_step(conn, message, length, &out, &out_length);
        else
            code = sasl_server_start(conn, mech, message, length, &out, &out_length);
        /* Wipes the copy of the host application. Copies that remain in memory are
         * those of the plugin or of libsasl2. */
        if (message)
            explicit_bzero(message, length);
        free(message);
        printf("step %d %.*s\n", code, (int)out_length, out ? out : "");
    }
    const void *user = NULL, *authid = NULL;
    if (code == SASL_OK) {
        sasl_getprop(conn, SASL_USERNAME, &user);
        sasl_getprop(conn, SASL_AUTHUSER, &authid);
    }
    printf("end %d %s %s\n", code, authid ? (const char *)authid : "-",
           user ? (const char *)user : "-");
    sasl_dispose(&conn);
}

static unsigned long long state;

/* xorshift64*, which generates the same messages for the same seed. */
static unsigned draw(unsigned below)
{
    state ^= state >> 12, state ^= state << 25, state ^= state >> 27;
    return (unsigned)((state * 2685821657736338717ULL) >> 33) % below;
}

/* Generates a message of random bytes and pieces of valid messages, which lead deeper into
 * the parsers. */
static unsigned random_message(char *message, unsigned size, int is_ticket)
{
    static const char *pieces[] = {
        "", "\1", "alice", "PT-", "ST-", "PT-12345", "\xff", "=2C", "\xc3\xa9",
        /* The following pieces are for tokens. */
        "n,,\1", "n,a=alice,\1", "auth=Bearer ", "user=alice\1auth=Bearer ", "eyJhbGciOiJFUzI1NiJ9.e30.AAAA", "\1\1", ".",
    };
    unsigned length = 0, kinds = is_ticket ? 9 : sizeof pieces / sizeof *pieces;
    for (unsigned parts = draw(8); parts > 0; parts--) {
        const char *piece = pieces[draw(kinds)];
        unsigned count = strlen(piece), noise = draw(4) ? draw(6) : draw(400);
        if (length + count + noise + 2 > size)
            break;
        memcpy(message + length, piece, count);
        length += count;
        while (draw(2) && noise-- > 0)
            message[length++] = (char)(draw(8) ? '!' + draw(90) : draw(256));
        if (draw(2))
            message[length++] = '\0';
    }
    return length;
}

static void fuzz(char *arguments)
{
    char mech[32], noise[4096];
    long count, successes = 0;
    if (sscanf(arguments, "%31s %ld %llu", mech, &count, &state) != 3)
        fail("fuzz", 0);
    while (count-- > 0) {
        sasl_conn_t *conn = connection();
        const char *out;
        unsigned out_length, length = random_message(noise, sizeof noise, strcmp(mech, "CASPT") == 0);
        char *message = malloc(length ? length : 1);
        memcpy(message, noise, length);
        int code = sasl_server_start(conn, mech, draw(20) ? message : NULL, length, &out, &out_length);
        for (int step = 0; code == SASL_CONTINUE && step < 4 && draw(10); step++)
            code = sasl_server_step(conn, message, length, &out, &out_length);
        successes += code == SASL_OK;
        free(message);
        sasl_dispose(&conn);
    }
    printf("fuzz %ld\n", successes);
}

#include "timing.h"
#include "faults.h"
#include "versus.h"

static void list(void)
{
    sasl_conn_t *conn = connection();
    const char *names = "";
    sasl_listmech(conn, NULL, "", " ", "", &names, NULL, NULL);
    printf("mechs %s\n", names);
    sasl_dispose(&conn);
}

static void list_unread(void)
{
    printf("unasked");
    for (char **given = options; *given; given++)
        if (given - options < (long)sizeof was_read && !was_read[given - options])
            printf(" %.*s", (int)strcspn(*given, "="), *given);
    printf("\n");
}

int main(int count, char **arguments)
{
    static char line[1 << 20];
    if (count < 2)
        return 2;
    directory = arguments[1];
    options = arguments + 2;
    remote = getenv("SSO_TEST_REMOTE");
    realm = getenv("SSO_TEST_REALM");
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (getenv("SSO_TEST_THREADS"))
        set_mutex_functions();
    initialize();
    while (fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = '\0';
        char *rest = strchr(line, ' ');
        if (rest)
            *rest++ = '\0';
        if (strcmp(line, "list") == 0)
            list();
        else if (strcmp(line, "unasked") == 0)
            list_unread();
        else if (strcmp(line, "login") == 0)
            login(rest);
        else if (strcmp(line, "fuzz") == 0)
            fuzz(rest);
        else if (strcmp(line, "time") == 0)
            time_start(rest);
        else if (strcmp(line, "messages") == 0)
            read_messages(rest);
        else if (strcmp(line, "walk") == 0)
            walk(rest);
        else if (strcmp(line, "checkpass") == 0)
            time_checkpass(rest);
        else if (strcmp(line, "versus") == 0)
            versus(rest);
        else if (strcmp(line, "quiet") == 0)
            printf("quiet %d\n", is_quiet = atoi(rest));
        else if (strcmp(line, "reload") == 0) {
            sasl_done();
            printf("reload %d\n", sasl_server_init(callbacks, "driver"));
        } else if (!run_fault_command(line, rest))
            fail(line, 0);
    }
    sasl_done();
    return 0;
}
