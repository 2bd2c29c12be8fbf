// A shared library with probes, one of them with a semaphore of its own.
#define _SDT_HAS_SEMAPHORES 1
#include <sys/sdt.h>

unsigned short library_called_semaphore __attribute__((section(".probes")));

void library(long value)
{
	STAP_PROBE1(library, called, value);
}
