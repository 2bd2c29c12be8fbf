// Executes a function of a shared library where it lies in an archive, as Android does: maps its segments and calls it for each
// line on standard input. The library needs no relocations. Arguments: archive, where the library begins in it, the address
// of the function in the library.
#include <elf.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

int main(int count, char **arguments)
{
	long base = count > 3 ? atol(arguments[2]) : 0;
	long function = count > 3 ? atol(arguments[3]) : 0;
	int file = count > 3 ? open(arguments[1], O_RDONLY) : -1;
	Elf64_Ehdr header;
	char *memory = mmap(0, 1 << 24, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	char line[64];
	long rounds = 0;

	if (file < 0 || pread(file, &header, sizeof(header), base) != sizeof(header))
		return 1;
	for (int index = 0; index < header.e_phnum; index++) {
		Elf64_Phdr segment;
		long start;

		if (pread(file, &segment, sizeof(segment), base + header.e_phoff + index * sizeof(segment)) < 0)
			return 1;
		if (segment.p_type != PT_LOAD)
			continue;
		start = segment.p_vaddr & ~4095l;
		if (mmap(memory + start, segment.p_vaddr + segment.p_filesz - start,
			 (segment.p_flags & PF_R ? PROT_READ : 0) | (segment.p_flags & PF_W ? PROT_WRITE : 0) |
				 (segment.p_flags & PF_X ? PROT_EXEC : 0),
			 MAP_PRIVATE | MAP_FIXED, file, base + (segment.p_offset & ~4095l)) == MAP_FAILED)
			return 1;
	}
	setvbuf(stdout, 0, _IOLBF, 0);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		((void (*)(long))(memory + function))(++rounds);
		printf("0\n");
	}
	return 0;
}
