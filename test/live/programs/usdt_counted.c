// A probe with a semaphore: its arguments are computed only while somebody is listening.
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

unsigned short effect_counted_semaphore __attribute__((section(".probes")));

int counted(void)
{
	static volatile int times;

	if (__builtin_expect(*(volatile unsigned short *)&effect_counted_semaphore, 0)) {
		int now = ++times;

		asm volatile("" : "+r"(now));
		STAP_PROBE1(effect, counted, now);
	}
	return times;
}
