/*
 * Lets Postfix run without root. Its programs constantly switch between users and exit if they
 * cannot. With this library, switching succeeds without effect: all files have the same owner.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* master must see itself as root. The others see their real user ID, which owns all files. */
static uid_t unless_master(long number)
{
    return strcmp(program_invocation_short_name, "master") == 0 ? 0 : (uid_t)syscall(number);
}

uid_t getuid(void)
{
    return unless_master(SYS_getuid);
}

uid_t geteuid(void)
{
    return unless_master(SYS_geteuid);
}

int seteuid(uid_t uid)
{
    (void)uid;
    return 0;
}

int setegid(gid_t gid)
{
    (void)gid;
    return 0;
}

int setuid(uid_t uid)
{
    (void)uid;
    return 0;
}

int setgid(gid_t gid)
{
    (void)gid;
    return 0;
}

int setgroups(size_t count, const gid_t *groups)
{
    (void)count;
    (void)groups;
    return 0;
}

int initgroups(const char *user, gid_t group)
{
    (void)user;
    (void)group;
    return 0;
}
