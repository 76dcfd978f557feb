/* What somebody would try who has taken over the daemon: each thing in a process of its
 * own. Prints a line for each: what it was, and "done" or the error.
 *
 * probe FILE-WITH-THE-NUMBER-OF-A-PROCESS */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/shm.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static pid_t other;

/* Each of these returns 0 if it could be done. */

static int cannot_open(const char *path, int flags)
{
    return open(path, flags, 0600) < 0;
}

static int write_programs(void) { return cannot_open("/usr/sso-probe", O_WRONLY | O_CREAT); }
static int write_state_of_imapd(void) { return cannot_open("/var/lib/cyrus/sso-probe", O_WRONLY | O_CREAT); }
static int write_run(void) { return cannot_open("/run/cyrus/sso-probe", O_WRONLY | O_CREAT); }
static int write_shared_memory(void) { return cannot_open("/dev/shm/sso-probe", O_WRONLY | O_CREAT); }
static int write_sysctl(void) { return cannot_open("/proc/sys/kernel/core_pattern", O_WRONLY); }
static int read_mail(void) { return cannot_open("/var/spool/cyrus/probe", O_RDONLY); }
static int read_scripts(void) { return cannot_open("/var/spool/sieve/probe", O_RDONLY); }
static int read_home(void) { return cannot_open("/home/probe", O_RDONLY); }
static int read_tmp_of_others(void) { return cannot_open("/tmp/probe", O_RDONLY); }
static int read_kernel_log(void) { return cannot_open("/dev/kmsg", O_RDONLY); }
static int read_devices(void) { return cannot_open("/dev/mem", O_RDONLY); }
static int signal_a_process(void) { return kill(other, 0) < 0; }
static int trace_a_process(void) { return ptrace(PTRACE_SEIZE, other, 0, 0) < 0; }

static int see_a_process(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/cmdline", other);
    return cannot_open(path, O_RDONLY);
}

static int read_memory_of_a_process(void)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {NULL, 1};
    /* Nothing is there: who may look is told so. */
    return process_vm_readv(other, &here, 1, &there, 1, 0) < 0 && errno != EFAULT;
}

static int deliver_mail(void)
{
    struct sockaddr_un lmtp = {AF_UNIX, "/run/cyrus/socket/lmtp"};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&lmtp, sizeof lmtp) < 0;
}

static int cannot_execute(const char *path)
{
    execl(path, path, NULL);
    return 1;
}

static int run_another_program(void) { return cannot_execute("/bin/true"); }

static int run_what_was_brought(void)
{
    int fd = memfd_create("probe", 0);
    static const char script[] = "#!/bin/true\n";
    if (fd < 0 || write(fd, script, sizeof script - 1) < 0)
        return 1;
    fexecve(fd, (char *[]){"probe", NULL}, (char *[]){NULL});
    return 1;
}

static int memory_that_is_code(void)
{
    return mmap(NULL, 4096, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED;
}

static int raw_socket(void) { return socket(AF_INET, SOCK_RAW, IPPROTO_ICMP) < 0; }
static int packet_socket(void) { return socket(AF_PACKET, SOCK_RAW, 0) < 0; }
static int netlink_socket(void) { return socket(AF_NETLINK, SOCK_RAW, 0) < 0; }
static int alg_socket(void) { return socket(AF_ALG, SOCK_SEQPACKET, 0) < 0; }
static int user_namespace(void) { return unshare(CLONE_NEWUSER) < 0; }
static int mount_namespace(void) { return unshare(CLONE_NEWNS) < 0; }
static int mount_something(void) { return mount("none", "/mnt", "tmpfs", 0, NULL) < 0; }
static int change_root(void) { return chroot("/") < 0; }
static int become_root(void) { return setuid(0) < 0; }
static int load_a_module(void) { return syscall(SYS_init_module, "", 0, "") < 0; }
static int program_the_kernel(void) { char none[128] = {0}; return syscall(SYS_bpf, 0, none, sizeof none) < 0; }
static int watch_the_machine(void) { char none[128] = {0}; return syscall(SYS_perf_event_open, none, 0, -1, -1, 0) < 0; }
static int kernel_ring(void) { char none[128] = {0}; return syscall(SYS_io_uring_setup, 1, none) < 0; }
static int kernel_keys(void) { return syscall(SYS_add_key, "user", "probe", "x", 1, -3) < 0; }
static int page_faults(void) { return syscall(SYS_userfaultfd, 1) < 0; }
static int another_execution_domain(void) { return personality(PER_LINUX32) < 0; }
static int name_the_host(void) { return sethostname("probe", 5) < 0; }
static int realtime(void) { struct sched_param one = {1}; return sched_setscheduler(0, SCHED_FIFO, &one) < 0; }
static int shared_segments(void) { return shmget(IPC_PRIVATE, 4096, IPC_CREAT | 0600) < 0; }
static int core_dumps(void) { struct rlimit all = {RLIM_INFINITY, RLIM_INFINITY}; return setrlimit(RLIMIT_CORE, &all) < 0; }

static int set_the_clock(void)
{
    struct timeval now;
    gettimeofday(&now, NULL);
    return settimeofday(&now, NULL) < 0;
}

static int setuid_file(void)
{
    int fd = open("/run/cyrus/sasl-sso/probe", O_WRONLY | O_CREAT, 0600);
    return fd < 0 || fchmod(fd, 04755) < 0;
}

/* So many processes at once, and not a thousand. */
static int a_thousand_processes(void)
{
    int started = 0, pipes[2];
    char byte;
    if (pipe(pipes) < 0)
        return 1;
    for (; started < 1000; started++) {
        pid_t child = fork();
        if (child < 0)
            break;
        if (child == 0) {
            close(pipes[1]);
            _exit(read(pipes[0], &byte, 1) != 0);
        }
    }
    int error = errno;
    close(pipes[0]), close(pipes[1]);
    while (wait(NULL) > 0)
        ;
    errno = error;
    return started < 1000;
}

/* What it needs. */

static int write_sessions(void) { return cannot_open("/run/cyrus/sasl-sso/probe", O_WRONLY | O_CREAT); }
static int read_certificates(void) { return cannot_open("/etc/ssl/certs", O_RDONLY); }

static int ask_a_server(void)
{
    /* Nobody listens there: who may ask is told so. */
    struct sockaddr_in nobody = {AF_INET, htons(9), {htonl(INADDR_LOOPBACK)}, {0}};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&nobody, sizeof nobody) < 0 && errno != ECONNREFUSED;
}

#define TRY(what) {#what, what}
static const struct {
    const char *name;
    int (*function)(void);
} all[] = {
    TRY(write_programs), TRY(write_state_of_imapd), TRY(write_run), TRY(write_shared_memory),
    TRY(write_sysctl), TRY(read_mail), TRY(read_scripts), TRY(read_home), TRY(read_tmp_of_others),
    TRY(read_kernel_log), TRY(read_devices), TRY(see_a_process), TRY(signal_a_process),
    TRY(trace_a_process), TRY(read_memory_of_a_process), TRY(deliver_mail), TRY(run_another_program),
    TRY(run_what_was_brought), TRY(memory_that_is_code), TRY(raw_socket), TRY(packet_socket),
    TRY(netlink_socket), TRY(alg_socket), TRY(user_namespace), TRY(mount_namespace),
    TRY(mount_something), TRY(change_root), TRY(become_root), TRY(load_a_module),
    TRY(program_the_kernel), TRY(watch_the_machine), TRY(kernel_ring), TRY(kernel_keys),
    TRY(page_faults), TRY(another_execution_domain), TRY(name_the_host), TRY(set_the_clock),
    TRY(realtime), TRY(shared_segments), TRY(core_dumps), TRY(setuid_file),
    TRY(a_thousand_processes), TRY(write_sessions), TRY(read_certificates), TRY(ask_a_server),
};

int main(int count, char **arguments)
{
    FILE *number = count == 2 ? fopen(arguments[1], "r") : NULL;
    if (!number || fscanf(number, "%d", &other) != 1)
        return 2;
    for (unsigned i = 0; i < sizeof all / sizeof *all; i++) {
        int status;
        pid_t child = fork();
        if (child == 0) {
            errno = 0;
            _exit(all[i].function() ? errno : 0);
        }
        waitpid(child, &status, 0);
        if (WIFSIGNALED(status))
            printf("%s signal %d\n", all[i].name, WTERMSIG(status));
        else if (WEXITSTATUS(status))
            printf("%s %s\n", all[i].name, strerrorname_np(WEXITSTATUS(status)));
        else
            printf("%s done\n", all[i].name);
        fflush(stdout);
    }
    return 0;
}
