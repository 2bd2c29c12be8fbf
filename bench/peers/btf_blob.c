// Blobs that btf_peer reads, from files and from the digits of its arguments.

#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "btf_peer.h"

static void *from_hex(const char *digits, size_t *size)
{
	size_t length = strlen(digits) / 2;
	unsigned char *bytes = must(malloc(length + 1));

	for (size_t i = 0; i < length; i++) {
		unsigned int byte;

		if (sscanf(digits + 2 * i, "%2x", &byte) != 1)
			break;
		bytes[i] = byte;
	}
	*size = length;
	return bytes;
}

// libbpf before 1.4 splits no blob in memory over a base, but that of a file.
static struct btf *split_from_memory(const void *bytes, size_t size, struct btf *base)
{
	int fd = memfd_create("blob", MFD_CLOEXEC);
	struct btf *btf = NULL;
	char path[32];
	int error;

	if (fd < 0)
		return NULL;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (write(fd, bytes, size) == (ssize_t)size)
		btf = btf__parse_raw_split(path, base);
	error = errno;
	close(fd);
	errno = error;
	return btf;
}

// A blob of the caller's own; NULL with errno set.
struct btf *load(const char *file, struct btf *base, struct btf_ext **ext)
{
	struct btf *btf;
	size_t size;
	void *bytes;
	int error;

	if (strncmp(file, "hex:", 4))
		return base ? btf__parse_split(file, base) : btf__parse(file, ext);
	bytes = from_hex(file + 4, &size);
	btf = base ? split_from_memory(bytes, size, base) : btf__new(bytes, size);
	error = errno;
	free(bytes);
	errno = error;
	return btf;
}

// Blobs that commands only read are parsed once, in a batch too: a kernel is the base of a thousand modules.
static struct held {
	char *file;
	struct btf *base, *btf;
	struct timespec changed;
} held[16];

static size_t held_count;

// From the newest to the oldest, since a base is older than what is split over it.
void forget(void)
{
	while (held_count > 0) {
		struct held *one = &held[--held_count];

		btf__free(one->btf);
		free(one->file);
	}
}

// A blob that is only read; NULL with errno set.
struct btf *use(const char *file, struct btf *base)
{
	struct stat status = {};
	struct btf *btf;

	if (strncmp(file, "hex:", 4) && stat(file, &status))
		return NULL;
	for (size_t i = 0; i < held_count; i++) {
		struct held *one = &held[i];

		if (!strcmp(one->file, file) && one->base == base &&
		    !memcmp(&one->changed, &status.st_mtim, sizeof(status.st_mtim)))
			return one->btf;
	}
	// Room was made before the command, and no command holds more than three.
	btf = load(file, base, NULL);
	if (!btf)
		return NULL;
	held[held_count++] = (struct held){ must(strdup(file)), base, btf, status.st_mtim };
	return btf;
}

void make_room(void)
{
	if (held_count > sizeof(held) / sizeof(held[0]) - 4)
		forget();
}
