/*
 * getnameinfo(3) for the programs that a test runs: every address has the name that
 * SSO_TEST_REVERSE_NAME holds, or "localhost", whatever the host's resolver would say. Numeric
 * names and other lookups are left to the C library.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

typedef int lookup(const struct sockaddr *, socklen_t, char *, socklen_t, char *, socklen_t, int);

int getnameinfo(const struct sockaddr *address, socklen_t length, char *host, socklen_t host_length,
                char *service, socklen_t service_length, int flags)
{
    const char *name = getenv("SSO_TEST_REVERSE_NAME");
    lookup *real = (lookup *)dlsym(RTLD_NEXT, "getnameinfo");

    if (!host || (flags & NI_NUMERICHOST))
        return real(address, length, host, host_length, service, service_length, flags);
    if (!name)
        name = "localhost";
    if (strlen(name) >= host_length)
        return EAI_OVERFLOW;
    strcpy(host, name);
    return service ? real(address, length, NULL, 0, service, service_length, flags) : 0;
}
