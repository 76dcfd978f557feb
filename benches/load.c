/* What one plugin costs a program that has loaded libsasl2 and nothing else:
 * nanoseconds of its dlopen, and once it is initialized, with no option set,
 * kB of private memory and of what it has written to of that.
 *
 * load EMPTY-DIRECTORY DIRECTORY-OF-THE-PLUGIN-ALONE PLUGIN */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "sasl.h"

static int get_path(void *context, char **path)
{
    *path = *(char **)context;
    return SASL_OK;
}

static char *directory;
static const sasl_callback_t callbacks[] = {
    {SASL_CB_GETPATH, (int (*)(void))get_path, &directory},
    {SASL_CB_LIST_END, NULL, NULL},
};

/* What this process has for itself, in kB: what was written to and, of files
 * that no other process has mapped, what was only read. */
struct memory {
    long clean, dirty;
};

static struct memory private_memory(void)
{
    static char text[4096];
    struct memory memory = {0, 0};
    int file = open("/proc/self/smaps_rollup", O_RDONLY);
    ssize_t length = read(file, text, sizeof text - 1);
    close(file);
    text[length > 0 ? length : 0] = '\0';
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        sscanf(line, "Private_Clean: %ld", &memory.clean);
        sscanf(line, "Private_Dirty: %ld", &memory.dirty);
    }
    return memory;
}

int main(int count, char **arguments)
{
    if (count != 4)
        return 2;
    /* What libsasl2 and we touch for ourselves is touched before we look. */
    directory = arguments[1];
    if (sasl_server_init(callbacks, "load") != SASL_OK)
        return 1;
    sasl_done();
    struct timespec begin, end;
    struct memory before, after;
    before = private_memory();
    clock_gettime(CLOCK_MONOTONIC, &begin);

    before = private_memory();
    clock_gettime(CLOCK_MONOTONIC, &begin);
    void *plugin = dlopen(arguments[3], RTLD_NOW);
    clock_gettime(CLOCK_MONOTONIC, &end);
    if (!plugin) {
        fprintf(stderr, "%s\n", dlerror());
        return 1;
    }
    directory = arguments[2];
    if (sasl_server_init(callbacks, "load") != SASL_OK)
        return 1;
    after = private_memory();
    long dirty = after.dirty - before.dirty;
    printf("%ld %ld %ld\n",
           (end.tv_sec - begin.tv_sec) * 1000000000L + end.tv_nsec - begin.tv_nsec,
           after.clean - before.clean + dirty, dirty);
    return 0;
}
