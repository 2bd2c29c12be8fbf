// A program with probes (USDT), built by tests. For each line on standard input it passes its probes once and prints a line;
// the word after a dash of the line chooses what it does besides. Without input it ends.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include <sys/sdt.h>

volatile int8_t s8 = -1;
volatile uint8_t u8 = 200;
volatile int16_t s16 = -300;
volatile uint16_t u16 = 60000;
volatile int32_t s32 = -70000;
volatile uint32_t u32 = 4000000000u;
volatile int64_t s64 = -5000000000000;
volatile uint64_t u64 = 18000000000000000000u;

extern int counted(void); // usdt_counted.c: how often its probe was passed while somebody was listening
#ifdef WITH_LIBRARY
extern void library(long value); // usdt_library.c
#endif

__attribute__((noipa)) static void indexed(const long *values, long index)
{
	STAP_PROBE1(effect, indexed, values[index]);
}

static inline __attribute__((always_inline)) void many(long value)
{
	STAP_PROBE2(effect, many, value, 7);
}

// Places of one probe, with its arguments in two different texts.
__attribute__((noipa)) static void first_place(long value)
{
	many(value);
}

__attribute__((noipa)) static void second_place(long value)
{
	many(value + 1 > 0 ? value : 0);
}

__attribute__((noipa)) static void third_place(long ignored, long value)
{
	(void)ignored;
	many(value);
}

__attribute__((noipa)) static void widths(void)
{
	// Volatile ones are on the stack, the others in registers.
	volatile int8_t a = s8;
	volatile uint8_t b = u8;
	volatile int16_t c = s16;
	volatile uint16_t d = u16;
	volatile int32_t e = s32;
	volatile uint32_t f = u32;
	volatile int64_t g = s64;
	volatile uint64_t h = u64;
	int8_t i = s8;
	uint16_t j = u16;

	asm volatile("" : "+r"(i), "+r"(j));
	// Variables that are named by the assembler.
	STAP_PROBE3(effect, variables, s16, u32, s64);
	STAP_PROBE12(effect, widths, a, b, c, d, e, f, g, h, -9, i, j, (void *)0x1234);
}

int main(void)
{
	static long values[8] = { 10, 11, 12, 13, 14, 15, 16, 17 };
	char line[64];
	int rounds = 0, times;

	setvbuf(stdout, 0, _IOLBF, 0);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		rounds++;
		STAP_PROBE2(effect, begin, rounds, (long)getpid());
		widths();
		indexed(values, rounds % 8);
		first_place(rounds);
		second_place(rounds + 100);
		third_place(0, rounds + 200);
#ifdef WITH_LIBRARY
		library(rounds);
#endif
		times = counted();
		STAP_PROBE(effect, end);
		// The line tells that all probes were passed.
		printf("%d\n", times);
	}
	return 0;
}
