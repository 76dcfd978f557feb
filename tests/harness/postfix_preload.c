/*
 * For a Postfix that root has not started. Its programs become another user and root again all the
 * time, and end if they cannot: here they stay who they are, which is the owner of all their files.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <grp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* master wants to be root's. The others see who they are, and the plugin whose its files are. */
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
