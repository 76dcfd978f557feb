/* The part of the driver (driver.c) that simulates faults of a host application: it forks,
 * uses threads, and exhausts descriptors and memory. */
#include <dlfcn.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

/* Numbers of exchanges by result. */
struct ends {
    long good, refused, unavailable, others;
};

/* Performs an exchange and counts its result. The response to a challenge is ^A, as clients
 * send it. */
static void count_exchange(struct ends *ends, const char *mech, const char *message,
                           unsigned length)
{
    const char *out;
    unsigned out_length;
    sasl_conn_t *conn = connection();
    int code = sasl_server_start(conn, mech, message, length, &out, &out_length);
    if (code == SASL_CONTINUE)
        code = sasl_server_step(conn, "\1", 1, &out, &out_length);
    sasl_dispose(&conn);
    if (code == SASL_OK)
        ends->good++;
    else if (code == SASL_BADAUTH)
        ends->refused++;
    else if (code == SASL_UNAVAIL)
        ends->unavailable++;
    else
        ends->others++;
}

static void print_ends(const char *command, struct ends ends)
{
    printf("%s %ld %ld %ld %ld\n", command, ends.good, ends.refused, ends.unavailable,
           ends.others);
}

/* With a fourth word, a different number is appended to each message. */
static void many(char *arguments)
{
    static long number;
    char mech[32], hex[4096], is_new[8] = "", message[2100];
    long count;
    unsigned length;
    if (sscanf(arguments, "%31s %ld %4095s %7s", mech, &count, hex, is_new) < 3)
        fail("many", 0);
    char *begin = bytes(hex, &length);
    memcpy(message, begin, length);
    free(begin);
    struct ends ends = {0, 0, 0, 0};
    while (count-- > 0) {
        unsigned more = 0;
        if (*is_new)
            more = snprintf(message + length, sizeof message - length, "%ld", number++);
        count_exchange(&ends, mech, message, length + more);
    }
    print_ends("many", ends);
}

/* Uses each of the messages that were read once. */
static void each(char *arguments)
{
    char mech[32];
    long count;
    if (sscanf(arguments, "%31s %ld", mech, &count) != 2)
        fail("each", 0);
    struct ends ends = {0, 0, 0, 0};
    for (; count > 0 && messages.next < messages.count; count--) {
        const struct message *message = &messages.each[messages.next++];
        count_exchange(&ends, mech, message->bytes, message->length);
    }
    print_ends("each", ends);
}

/* Set in the child, which executes the commands until "leave". */
static int is_child;

static void fork_host(void)
{
    int status;
    pid_t child = fork();
    if (child < 0)
        fail("fork", 0);
    if (child == 0) {
        is_child = 1;
        printf("forked 0\n");
        return;
    }
    waitpid(child, &status, 0);
    printf("forked %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status));
}

static int hoard[65536], hoarded;

/* Leaves this number of free descriptors. "-" removes the limit. */
static void hoard_descriptors(const char *left)
{
    static struct rlimit before;
    if (!hoarded)
        getrlimit(RLIMIT_NOFILE, &before);
    while (hoarded > 0)
        close(hoard[--hoarded]);
    setrlimit(RLIMIT_NOFILE, &before);
    if (strcmp(left, "-") != 0) {
        struct rlimit few = {128, before.rlim_max};
        setrlimit(RLIMIT_NOFILE, &few);
        int one;
        while ((one = open("/dev/null", O_RDONLY | O_CLOEXEC)) >= 0)
            hoard[hoarded++] = one;
        for (int free = atoi(left); free > 0 && hoarded > 0; free--)
            close(hoard[--hoarded]);
    }
    printf("hoard %d\n", hoarded);
}

/* Lets the address space grow by this many kB. "-" removes the limit. */
static void limit_memory(const char *kilobytes)
{
    struct rlimit limit;
    long pages = 0;
    getrlimit(RLIMIT_AS, &limit);
    limit.rlim_cur = limit.rlim_max;
    if (strcmp(kilobytes, "-") != 0) {
        FILE *file = fopen("/proc/self/statm", "r");
        if (!file || fscanf(file, "%ld", &pages) != 1)
            fail("limit", 0);
        fclose(file);
        limit.rlim_cur = pages * sysconf(_SC_PAGESIZE) + atol(kilobytes) * 1024;
    }
    printf("limit %d\n", setrlimit(RLIMIT_AS, &limit));
}

static void initialize(void)
{
    int code = sasl_server_init(callbacks, "driver");
    if (code != SASL_OK)
        fail("sasl_server_init", code);
}

/* Reinitializes libsasl2 repeatedly, with one exchange each time. */
static void reload_often(char *arguments)
{
    char mech[32], hex[4096];
    long count;
    unsigned length;
    if (sscanf(arguments, "%ld %31s %4095s", &count, mech, hex) != 3)
        fail("reloads", 0);
    char *message = bytes(hex, &length);
    struct ends ends = {0, 0, 0, 0};
    while (count-- > 0) {
        sasl_done();
        initialize();
        count_exchange(&ends, mech, message, length);
    }
    free(message);
    print_ends("reloads", ends);
}

/* Loads the plugin repeatedly without libsasl2. */
static void load_often(char *arguments)
{
    char path[4096];
    long count = atol(arguments);
    snprintf(path, sizeof path, "%s/libsso.so", directory);
    sasl_done();
    while (count-- > 0) {
        void *plugin = dlopen(path, RTLD_NOW);
        if (!plugin || !dlsym(plugin, "sasl_server_plug_init") || dlclose(plugin) != 0)
            fail("dlopen", 0);
    }
    initialize();
    printf("loads 0\n");
}

struct worker {
    pthread_t thread;
    const char *mech;
    long number, count;
    struct ends ends;
};

/* Each thread starts with a different message, and uses all of them. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    for (long i = 0; i < worker->count; i++) {
        const struct message *message = &messages.each[(worker->number + i) % messages.count];
        count_exchange(&worker->ends, worker->mech, message->bytes, message->length);
    }
    return NULL;
}

static void log_in_by_threads(char *arguments)
{
    char mech[32];
    long threads, count;
    struct ends ends = {0, 0, 0, 0};
    if (sscanf(arguments, "%ld %ld %31s", &threads, &count, mech) != 3 || messages.count == 0)
        fail("threads", 0);
    struct worker *workers = calloc(threads, sizeof *workers);
    for (long i = 0; i < threads; i++) {
        workers[i].mech = mech, workers[i].number = i, workers[i].count = count;
        if (pthread_create(&workers[i].thread, NULL, work, &workers[i]) != 0)
            fail("pthread_create", 0);
    }
    for (long i = 0; i < threads; i++) {
        pthread_join(workers[i].thread, NULL);
        ends.good += workers[i].ends.good, ends.refused += workers[i].ends.refused;
        ends.unavailable += workers[i].ends.unavailable, ends.others += workers[i].ends.others;
    }
    free(workers);
    print_ends("threads", ends);
}

/* Forks children that have one exchange and then wait, as processes of imapd do. They write the
 * result to one pipe. Another pipe is closed when the driver ends, which ends the children. */
static void gather_crowd(char *arguments)
{
    enum { MAX_PENDING = 4 };
    char mech[32], good[4096], bad[4096], message[2100];
    long count, every, reported = 0;
    unsigned lengths[2];
    int ends_at[2], lives_at[2];
    if (sscanf(arguments, "%ld %ld %31s %4095s %4095s", &count, &every, mech, good, bad) != 5 ||
        pipe(ends_at) != 0 || pipe(lives_at) != 0)
        fail("crowd", 0);
    char *messages_of[2] = {bytes(good, &lengths[0]), bytes(bad, &lengths[1])};
    struct ends all = {0, 0, 0, 0}, one;
    for (long i = 0; i < count || reported < count;) {
        if (i < count && i - reported < MAX_PENDING) {
            pid_t child = fork();
            if (child < 0)
                fail("fork", 0);
            if (child == 0) {
                struct ends ends = {0, 0, 0, 0};
                int is_bad = i % every == every - 1;
                unsigned length = lengths[is_bad];
                char byte;
                memcpy(message, messages_of[is_bad], length);
                if (is_bad)
                    length += snprintf(message + length, 32, "%ld", i);
                close(lives_at[1]);
                is_quiet = 1;
                count_exchange(&ends, mech, message, length);
                if (write(ends_at[1], &ends, sizeof ends) != sizeof ends)
                    _exit(1);
                while (read(lives_at[0], &byte, 1) < 0)
                    ;
                _exit(0);
            }
            i++;
        } else if (read(ends_at[0], &one, sizeof one) == sizeof one) {
            all.good += one.good, all.refused += one.refused;
            all.unavailable += one.unavailable, all.others += one.others;
            reported++;
        } else {
            fail("crowd", 1);
        }
    }
    free(messages_of[0]), free(messages_of[1]);
    print_ends("crowd", all);
}

static pthread_mutex_t *seized;

/* Simulates a process that was stopped while it begins to read. */
static void seize(const char *path)
{
    int file = open(path, O_RDWR | O_CLOEXEC);
    seized = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (file < 0 || seized == MAP_FAILED)
        fail("seize", 0);
    close(file);
    printf("seize %d\n", pthread_mutex_lock(seized));
}

static void *new_mutex(void)
{
    pthread_mutex_t *mutex = malloc(sizeof *mutex);
    pthread_mutex_init(mutex, NULL);
    return mutex;
}

static int lock_mutex(void *mutex)
{
    return pthread_mutex_lock(mutex);
}

static int unlock_mutex(void *mutex)
{
    return pthread_mutex_unlock(mutex);
}

static void free_mutex(void *mutex)
{
    pthread_mutex_destroy(mutex);
    free(mutex);
}

/* A host application with threads, such as slapd, sets these functions before it initializes
 * libsasl2. imapd has no threads and does not. */
static void set_mutex_functions(void)
{
    sasl_set_mutex(new_mutex, lock_mutex, unlock_mutex, free_mutex);
}

/* Returns whether the command is one of these. */
static int run_fault_command(const char *command, char *rest)
{
    if (strcmp(command, "many") == 0)
        many(rest);
    else if (strcmp(command, "each") == 0)
        each(rest);
    else if (strcmp(command, "fork") == 0)
        fork_host();
    else if (strcmp(command, "leave") == 0 && is_child)
        /* Skips the exit handlers: a leak checker would report memory of the parent's threads. */
        fflush(stdout), _exit(0);
    else if (strcmp(command, "hoard") == 0)
        hoard_descriptors(rest);
    else if (strcmp(command, "limit") == 0)
        limit_memory(rest);
    else if (strcmp(command, "reloads") == 0)
        reload_often(rest);
    else if (strcmp(command, "loads") == 0)
        load_often(rest);
    else if (strcmp(command, "crowd") == 0)
        gather_crowd(rest);
    else if (strcmp(command, "seize") == 0)
        seize(rest);
    else if (strcmp(command, "release") == 0)
        printf("release %d\n", pthread_mutex_unlock(seized));
    else if (strcmp(command, "threads") == 0)
        log_in_by_threads(rest);
    else
        return 0;
    return 1;
}
