/* The part of the driver (driver.c) that measures. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static long nanoseconds(const struct timespec *from, const struct timespec *to)
{
    return (to->tv_sec - from->tv_sec) * 1000000000L + to->tv_nsec - from->tv_nsec;
}

/* How long calls took. */
struct times {
    long *each, count, total;
};

static struct times times(long count)
{
    struct times times = {calloc(count > 0 ? count : 1, sizeof(long)), 0, 0};
    return times;
}

static void add(struct times *times, const struct timespec *begin)
{
    struct timespec end;
    clock_gettime(CLOCK_MONOTONIC, &end);
    long time = nanoseconds(begin, &end);
    times->each[times->count++] = time;
    times->total += time;
}

static int compare(const void *one, const void *other)
{
    long difference = *(const long *)one - *(const long *)other;
    return (difference > 0) - (difference < 0);
}

/* The median is of the call alone; what else the machine did meanwhile is in
 * the total. */
static void print_times(int code, struct times times)
{
    qsort(times.each, times.count, sizeof(long), compare);
    printf("time %d %ld %ld\n", code, times.total, times.each[times.count / 2]);
    free(times.each);
}

static void start_timed(struct times *times, const char *mech, const char *message,
                        unsigned length, int *code)
{
    struct timespec begin;
    const char *out;
    unsigned out_length;
    sasl_conn_t *conn = connection();
    clock_gettime(CLOCK_MONOTONIC, &begin);
    *code = sasl_server_start(conn, mech, message, length, &out, &out_length);
    add(times, &begin);
    sasl_dispose(&conn);
}

static void time_start(char *arguments)
{
    char mech[32], hex[2048];
    long count;
    unsigned length;
    if (sscanf(arguments, "%31s %ld %2047s", mech, &count, hex) != 3)
        fail("time", 0);
    char *message = bytes(hex, &length);
    struct times taken = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++)
        start_timed(&taken, mech, message, length, &code);
    free(message);
    print_times(code, taken);
}

static void walk(char *arguments)
{
    /* Neither of the two names of PLAIN is given. */
    char mech[32], prefix[256], message[300] = "\0";
    long count, tickets;
    if (sscanf(arguments, "%31s %ld %255s %ld", mech, &count, prefix, &tickets) != 4)
        fail("walk", 0);
    struct times taken = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++) {
        int length = 2 + sprintf(message + 2, "%s%ld", prefix, i % tickets + 1);
        start_timed(&taken, mech, message, length, &code);
    }
    print_times(code, taken);
}

static void time_checkpass(char *arguments)
{
    char user[256], password[1024];
    long count;
    if (sscanf(arguments, "%ld %255s %1023s", &count, user, password) != 3)
        fail("checkpass", 0);
    struct times taken = times(count);
    int code = SASL_OK;
    for (long i = 0; i < count && code == SASL_OK; i++) {
        struct timespec begin;
        sasl_conn_t *conn = connection();
        clock_gettime(CLOCK_MONOTONIC, &begin);
        code = sasl_checkpass(conn, user, strlen(user), password, strlen(password));
        add(&taken, &begin);
        sasl_dispose(&conn);
    }
    print_times(code, taken);
}
