#define _GNU_SOURCE
#include "qemu.h"

#include <Block.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define WORDS 64
#define FIRST_CARD 10 /* descriptors of the process, from here on */

struct qemu {
	char *words[WORDS];
	int count;
	int cards[WORDS], card_count;
	int monitor; /* the end of its standard input that we write to */
	pid_t pid;
	pthread_t watcher;
	void (^ended)(void);
};

__attribute__((format(printf, 2, 3))) static void add(struct qemu *qemu, const char *format, ...) {
	va_list values;
	va_start(values, format);
	if (qemu->count + 1 == WORDS || vasprintf(&qemu->words[qemu->count++], format, values) < 0) abort();
	va_end(values);
}

struct qemu *qemu_new(unsigned long cpus, unsigned long memory_mib) {
	struct qemu *qemu = calloc(1, sizeof *qemu);
	static const char *const fixed[] = {"qemu-system-x86_64", "-machine", "q35,accel=tcg", "-cpu", "max", "-nodefaults", "-no-user-config",
	                                    "-display", "none", "-monitor", "stdio", "-device", "virtio-rng-pci"};
	for (unsigned i = 0; i < sizeof fixed / sizeof *fixed; i++) add(qemu, "%s", fixed[i]);
	add(qemu, "-smp");
	add(qemu, "%lu", cpus);
	add(qemu, "-m");
	add(qemu, "%luM", memory_mib);
	return qemu;
}

void qemu_kernel(struct qemu *qemu, const char *kernel, const char *initrd, const char *command_line) {
	add(qemu, "-kernel");
	add(qemu, "%s", kernel);
	add(qemu, "-append");
	add(qemu, "%s", command_line);
	if (initrd == NULL) return;
	add(qemu, "-initrd");
	add(qemu, "%s", initrd);
}

void qemu_disk(struct qemu *qemu, const char *path, int read_only) {
	add(qemu, "-drive");
	add(qemu, "file=%s,if=virtio,format=raw,readonly=%s", path, read_only ? "on" : "off");
}

int qemu_card(struct qemu *qemu, const char *mac) {
	int ends[2], large = 4 << 20, index = qemu->card_count++;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends) < 0) abort();
	for (int i = 0; i < 2; i++) setsockopt(ends[i], SOL_SOCKET, SO_RCVBUF, &large, sizeof large);
	qemu->cards[index] = ends[1];
	add(qemu, "-netdev");
	add(qemu, "dgram,id=n%d,local.type=fd,local.str=%d", index, FIRST_CARD + index);
	add(qemu, "-device");
	add(qemu, "virtio-net-pci,netdev=n%d,mac=%s", index, mac);
	return ends[0];
}

static void *watch(void *argument) {
	struct qemu *qemu = argument;
	siginfo_t info;
	waitid(P_PID, (id_t)qemu->pid, &info, WEXITED | WNOWAIT);
	qemu->ended();
	return NULL;
}

/* A duplicate beyond the numbers that the process gets. */
static int out_of_the_way(int fd) {
	return fcntl(fd, F_DUPFD_CLOEXEC, FIRST_CARD + WORDS);
}

void qemu_start(struct qemu *qemu, int serial, void (^ended)(void)) {
	int input[2];
	if (pipe(input) < 0) abort();
	add(qemu, "-chardev");
	add(qemu, "file,id=console,path=/proc/self/fd/%d,append=on", FIRST_CARD + qemu->card_count);
	/* not a virtio console, for which the tests' guest has no driver */
	add(qemu, "-serial");
	add(qemu, "chardev:console");
	qemu->ended = Block_copy(ended);
	qemu->pid = fork();
	if (qemu->pid == 0) {
		/* as a machine of the framework's, it ends with the process that has it */
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		int far[WORDS];
		for (int i = 0; i < qemu->card_count; i++) far[i] = out_of_the_way(qemu->cards[i]);
		int console = out_of_the_way(serial);
		dup2(input[0], 0);
		dup2(2, 1);
		close(input[1]);
		for (int i = 0; i < qemu->card_count; i++) dup2(far[i], FIRST_CARD + i);
		dup2(console, FIRST_CARD + qemu->card_count);
		execvp(qemu->words[0], qemu->words);
		_exit(127);
	}
	close(input[0]);
	qemu->monitor = input[1];
	for (int i = 0; i < qemu->card_count; i++) close(qemu->cards[i]);
	pthread_create(&qemu->watcher, NULL, watch, qemu);
}

void qemu_power_button(struct qemu *qemu) {
	static const char command[] = "system_powerdown\n";
	(void)!write(qemu->monitor, command, sizeof command - 1);
}

void qemu_end(struct qemu *qemu) {
	kill(qemu->pid, SIGKILL);
	pthread_join(qemu->watcher, NULL);
	waitpid(qemu->pid, NULL, 0);
	close(qemu->monitor);
	Block_release(qemu->ended);
	for (int i = 0; i < qemu->count; i++) free(qemu->words[i]);
	free(qemu);
}
