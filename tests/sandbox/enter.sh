# Becomes a systemd of its own, with the units of a test and nothing else, in namespaces of
# its own: $1 is the directory of the test.
set -eu
mount --make-rprivate /

# What is the machine's is not ours to change.
mount -t tmpfs none /mnt -o mode=755
mkdir /mnt/site
mount --bind "$1" /mnt/site
mount -t tmpfs none /run -o mode=755
mount -t tmpfs none /home -o mode=755
mount -t tmpfs none /tmp -o mode=1777
mount -t tmpfs none /dev/shm -o mode=1777
for directory in /var/lib/cyrus /var/spool/cyrus /var/spool/sieve; do
    mount -t tmpfs none "$directory" -o mode=755
    chown cyrus:mail "$directory"
done
install -d -o cyrus -g mail /run/cyrus /run/cyrus/socket
for file in /var/spool/cyrus/probe /var/spool/sieve/probe /home/probe /tmp/probe; do
    : >"$file"
    chown cyrus "$file"
done
# What systemd says is for the test to print.
mount --bind /mnt/site/console /dev/console
mount --bind /mnt/site/sbin /usr/local/sbin
mount --bind /mnt/site/imapd.conf /etc/imapd.conf

# The groups of processes that systemd makes, where it looks for them.
if awk '$1 == "pids" && $2 > 0 { found = 1 } END { exit !found }' /proc/cgroups; then
    mount -t tmpfs none /sys/fs/cgroup
    for hierarchy in pids devices name=systemd; do
        mkdir "/sys/fs/cgroup/${hierarchy#name=}"
        mount -t cgroup -o "$hierarchy" none "/sys/fs/cgroup/${hierarchy#name=}"
    done
else
    mount -t cgroup2 none /sys/fs/cgroup
fi

mkdir -p /run/systemd/system
cp -r /mnt/site/units/. /run/systemd/system
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd \
    --system --unit=probe.target --log-target=console --show-status=no
