/*
 * Replaces syslog(3) in the programs that a test runs: each line is sent as one datagram to the
 * unix socket named by SSO_TEST_SYSLOG instead of to /dev/log of the host.
 *
 * The socket is opened for each line. A daemon closes descriptors that it does not know and reuses
 * their numbers, so that a descriptor kept open here could later refer to one of its own files.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <syslog.h>
#include <unistd.h>

static char ident_copy[64];
/* The facility of a line that names none, as glibc keeps it. */
static int default_facility = LOG_USER;

void openlog(const char *ident, int option, int facility)
{
    (void)option;
    if (facility != 0 && (facility & ~LOG_FACMASK) == 0)
        default_facility = facility;
    if (ident)
        snprintf(ident_copy, sizeof ident_copy, "%s", ident);
}

void closelog(void)
{
    ident_copy[0] = '\0';
}

static void send_line(const char *line, size_t length)
{
    const char *path = getenv("SSO_TEST_SYSLOG");
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    /* The receiver may be busy or gone: wait for it, but at most for a second. */
    struct timeval timeout = { .tv_sec = 1 };
    int fd;

    if (!path || strlen(path) >= sizeof address.sun_path)
        return;
    strcpy(address.sun_path, path);
    fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout);
    while (sendto(fd, line, length, MSG_NOSIGNAL, (struct sockaddr *)&address, sizeof address) < 0
           && errno == EINTR)
        ;
    close(fd);
}

void vsyslog(int priority, const char *format, va_list arguments)
{
    char line[16384];
    int saved = errno;
    int length;
    int text;

    /* glibc keeps the mask; an argument of 0 reads it without changing it. */
    if (!(setlogmask(0) & LOG_MASK(LOG_PRI(priority))))
        return;
    if ((priority & LOG_FACMASK) == 0)
        priority |= default_facility;
    length = snprintf(line, sizeof line, "<%d>%s[%ld]: ", priority,
                      ident_copy[0] ? ident_copy : program_invocation_short_name, (long)getpid());
    errno = saved; /* for %m */
    text = vsnprintf(line + length, sizeof line - length, format, arguments);
    if (text > 0)
        length += text;
    if (length >= (int)sizeof line)
        length = sizeof line - 1;
    send_line(line, length);
    errno = saved;
}

void syslog(int priority, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

/* Programs built with _FORTIFY_SOURCE, such as all of Debian's, call these functions instead. */
void __syslog_chk(int priority, int flag, const char *format, ...)
{
    va_list arguments;

    (void)flag;
    va_start(arguments, format);
    vsyslog(priority, format, arguments);
    va_end(arguments);
}

void __vsyslog_chk(int priority, int flag, const char *format, va_list arguments)
{
    (void)flag;
    vsyslog(priority, format, arguments);
}
