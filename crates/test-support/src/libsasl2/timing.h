/* The part of the driver (driver.c) that measures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long nanoseconds(const struct timespec *from, const struct timespec *to)
{
    return (to->tv_sec - from->tv_sec) * 1000000000L + to->tv_nsec - from->tv_nsec;
}

/* Durations in nanoseconds of calls alone (each, total), and of calls with the creation and
 * disposal of their connections (whole). */
struct times {
    long *each, *whole, count, total;
};

static struct times times(long count)
{
    size_t size = count > 0 ? count : 1;
    struct times times = {calloc(size, sizeof(long)), calloc(size, sizeof(long)), 0, 0};
    return times;
}

static struct timespec now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now;
}

/* Adds a call, with the times at which its connection was about to be created, the call began
 * and ended, and the connection was disposed of. */
static void add(struct times *times, struct timespec created, struct timespec begin,
                struct timespec end, struct timespec disposed)
{
    long time = nanoseconds(&begin, &end);
    times->each[times->count] = time;
    times->whole[times->count++] = nanoseconds(&created, &disposed);
    times->total += time;
}

static int compare(const void *one, const void *other)
{
    long difference = *(const long *)one - *(const long *)other;
    return (difference > 0) - (difference < 0);
}

static long median(long *each, long count)
{
    qsort(each, count, sizeof(long), compare);
    return each[count / 2];
}

/* The median is hardly affected by other load of the machine; the total is. */
static void print_times(int code, struct times times)
{
    printf("time %d %ld %ld %ld\n", code, times.total, median(times.each, times.count),
           median(times.whole, times.count));
    free(times.each);
    free(times.whole);
}

static void start_timed(struct times *times, const char *mech, const char *message,
                        unsigned length, int *code)
{
    const char *out;
    unsigned out_length;
    struct timespec created = now();
    sasl_conn_t *conn = connection();
    struct timespec begin = now();
    *code = sasl_server_start(conn, mech, message, length, &out, &out_length);
    struct timespec end = now();
    sasl_dispose(&conn);
    add(times, created, begin, end, now());
}

static void time_start(char *arguments)
{
    char mech[32], hex[2048];
    long count;
    unsigned length;
    if (sscanf(arguments, "%31s %ld %2047s", mech, &count, hex) != 3)
        fail("time", 0);
    char *message = bytes(hex, &length);
    struct times durations = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++)
        start_timed(&durations, mech, message, length, &code);
    free(message);
    print_times(code, durations);
}

struct message {
    char *bytes;
    unsigned length;
};

/* The messages that were read, and the index of the next one to use. */
static struct {
    struct message *each;
    long count, next;
} messages;

static void read_messages(const char *path)
{
    FILE *file = fopen(path, "r");
    struct message message = {NULL, 0};
    size_t size = 0;
    ssize_t length;
    if (!file)
        fail("messages", 0);
    while (messages.count > 0)
        free(messages.each[--messages.count].bytes);
    messages.next = 0;
    while ((length = getline(&message.bytes, &size, file)) > 0) {
        message.length = message.bytes[length - 1] == '\n' ? length - 1 : length;
        messages.each = realloc(messages.each, (messages.count + 1) * sizeof message);
        messages.each[messages.count++] = message;
        message.bytes = NULL, size = 0;
    }
    free(message.bytes);
    fclose(file);
    printf("messages %ld\n", messages.count);
}

static void walk(char *arguments)
{
    char mech[32];
    long count;
    if (sscanf(arguments, "%31s %ld", mech, &count) != 2 || messages.count == 0)
        fail("walk", 0);
    struct times durations = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++) {
        const struct message *message = &messages.each[messages.next++ % messages.count];
        start_timed(&durations, mech, message->bytes, message->length, &code);
    }
    print_times(code, durations);
}

static void time_checkpass(char *arguments)
{
    char user[256], password[1024];
    long count;
    if (sscanf(arguments, "%ld %255s %1023s", &count, user, password) != 3)
        fail("checkpass", 0);
    struct times durations = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++) {
        struct timespec created = now();
        sasl_conn_t *conn = connection();
        struct timespec begin = now();
        code = sasl_checkpass(conn, user, strlen(user), password, strlen(password));
        struct timespec end = now();
        sasl_dispose(&conn);
        add(&durations, created, begin, end, now());
    }
    print_times(code, durations);
}
