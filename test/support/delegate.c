/*
 * delegate PROGRAM [ARGUMENT...]: runs a program in user, mount and network namespaces of its own, where its only right to
 * bpf(2) is a bpf file system that the first namespace delegates everything through. Its path is in BPFFS.
 *
 * Two processes are needed: the file system belongs to the namespace that calls fsopen(2), and delegation is for those
 * who are privileged outside of it.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef SYS_fsopen
#define SYS_fsopen 430
#define SYS_fsconfig 431
#define SYS_fsmount 432
#endif

enum { SET_STRING = 1, CMD_CREATE = 6 };

static void fail(const char *what)
{
	fprintf(stderr, "delegate: %s: %s\n", what, strerror(errno));
	exit(77);
}

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof fd)] = { 0 };
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof fd);
	memcpy(CMSG_DATA(header), &fd, sizeof fd);
	if (sendmsg(socket, &message, 0) != 1)
		fail("sendmsg");
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control };
	struct cmsghdr *header;
	int fd;

	if (recvmsg(socket, &message, 0) != 1 || !(header = CMSG_FIRSTHDR(&message)))
		fail("recvmsg");
	memcpy(&fd, CMSG_DATA(header), sizeof fd);
	return fd;
}

static void write_map(pid_t pid, const char *name)
{
	static const char identity[] = "0 0 1\n";
	char path[64];
	int fd;

	snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
	fd = open(path, O_WRONLY);
	if (fd < 0 || write(fd, identity, sizeof identity - 1) < 0)
		fail(path);
	close(fd);
}

static void in_namespace(int socket, char **arguments)
{
	char byte, path[32];
	int fs, mount;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWNET))
		fail("unshare");
	if (write(socket, "u", 1) != 1 || read(socket, &byte, 1) != 1)
		fail("handshake");
	fs = syscall(SYS_fsopen, "bpf", 0);
	if (fs < 0)
		fail("fsopen");
	send_fd(socket, fs);
	mount = receive_fd(socket);
	snprintf(path, sizeof path, "/proc/self/fd/%d", mount);
	setenv("BPFFS", path, 1);
	execv(arguments[0], arguments);
	fail(arguments[0]);
}

int main(int count, char **arguments)
{
	static const char *const options[] = { "delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs" };
	int sockets[2], fs, mount, status;
	char byte;
	pid_t pid;

	if (count < 2 || socketpair(AF_UNIX, SOCK_STREAM, 0, sockets))
		fail("usage");
	pid = fork();
	if (pid < 0)
		fail("fork");
	if (pid == 0) {
		close(sockets[0]);
		in_namespace(sockets[1], arguments + 1);
	}
	close(sockets[1]);
	if (read(sockets[0], &byte, 1) != 1)
		exit(77);
	write_map(pid, "uid_map");
	write_map(pid, "gid_map");
	if (write(sockets[0], "m", 1) != 1)
		fail("handshake");
	fs = receive_fd(sockets[0]);
	for (unsigned i = 0; i < sizeof options / sizeof *options; i++)
		if (syscall(SYS_fsconfig, fs, SET_STRING, options[i], "any", 0))
			fail(options[i]);
	if (syscall(SYS_fsconfig, fs, CMD_CREATE, 0, 0, 0))
		fail("fsconfig");
	mount = syscall(SYS_fsmount, fs, 0, 0);
	if (mount < 0)
		fail("fsmount");
	send_fd(sockets[0], mount);
	if (waitpid(pid, &status, 0) != pid)
		fail("waitpid");
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1;
}
