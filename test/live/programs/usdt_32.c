// A program of 32 bits with a probe, without a C library: for each line on standard input it passes its probe and prints a line.
#include <sys/sdt.h>

static long call(long number, long first, const void *second, long third)
{
	long result;

	asm volatile("int $0x80" : "=a"(result) : "a"(number), "b"(first), "c"(second), "d"(third) : "memory");
	return result;
}

__attribute__((noinline)) static void pass(int rounds, signed char negative, volatile long long *wide)
{
	asm volatile("" : "+r"(rounds));
	STAP_PROBE3(effect, narrow, rounds, negative, *wide);
}

void _start(void)
{
	volatile long long wide = -5000000000000;
	char letter;
	int rounds = 0;

	call(4, 1, "ready\n", 6);
	while (call(3, 0, &letter, 1) == 1) {
		rounds++;
		pass(rounds, -rounds, &wide);
		call(4, 1, "0\n", 2);
	}
	call(1, 0, 0, 0);
}
