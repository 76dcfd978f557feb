/* The part of the driver (driver.c) that compares the times of two messages as dudect does
 * (Reparaz, Balasch, Verbauwhede: Dude, is my code constant time?, 2017): the messages are sent
 * in random order, and Welch's t is computed without the slowest samples. */
#include <math.h>

struct sample {
    double time;
    int which;
};

static int compare_samples(const void *one, const void *other)
{
    double difference = ((const struct sample *)one)->time - ((const struct sample *)other)->time;
    return (difference > 0) - (difference < 0);
}

/* Returns Welch's t for the first `count` samples. */
static double welch(const struct sample *samples, long count)
{
    double n[2] = {0}, mean[2] = {0}, squares[2] = {0};
    for (long i = 0; i < count; i++) {
        int which = samples[i].which;
        double delta = samples[i].time - mean[which];
        mean[which] += delta / ++n[which];
        squares[which] += delta * (samples[i].time - mean[which]);
    }
    double error = squares[0] / (n[0] - 1) / n[0] + squares[1] / (n[1] - 1) / n[1];
    return (mean[0] - mean[1]) / sqrt(error);
}

static void versus(char *arguments)
{
    char mech[32], *rest, *word = strtok_r(arguments, " ", &rest);
    snprintf(mech, sizeof mech, "%s", word);
    long count = atol(strtok_r(NULL, " ", &rest));
    unsigned lengths[2];
    char *messages[2];
    for (int i = 0; i < 2; i++)
        messages[i] = bytes(strtok_r(NULL, " ", &rest), &lengths[i]);
    struct sample *samples = calloc(count, sizeof *samples);
    int codes[2] = {0};
    state = 0x9e3779b97f4a7c15ULL;
    for (long i = 0; i < count; i++) {
        const char *out;
        unsigned out_length;
        int which = draw(2);
        sasl_conn_t *conn = connection();
        struct timespec begin = now();
        codes[which] = sasl_server_start(conn, mech, messages[which], lengths[which], &out, &out_length);
        struct timespec end = now();
        sasl_dispose(&conn);
        samples[i].which = which;
        samples[i].time = nanoseconds(&begin, &end);
    }
    qsort(samples, count, sizeof *samples, compare_samples);
    printf("versus %d %d %.1f\n", codes[0], codes[1], welch(samples, count * 9 / 10));
    free(messages[0]), free(messages[1]), free(samples);
}
