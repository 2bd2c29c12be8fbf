// A probe as newer producers write it: nop, and a nop of five bytes behind it that the kernel can make into a call.
#include <stdio.h>

__attribute__((noipa)) static void fast(long value)
{
	asm volatile("990: .byte 0x90, 0x0f, 0x1f, 0x44, 0x00, 0x00\n"
		     ".pushsection .note.stapsdt,\"\",\"note\"\n"
		     ".balign 4\n"
		     ".4byte 992f-991f, 994f-993f, 3\n"
		     "991: .asciz \"stapsdt\"\n"
		     "992: .balign 4\n"
		     "993: .8byte 990b, 0, 0\n"
		     ".asciz \"effect\"\n"
		     ".asciz \"fast\"\n"
		     ".asciz \"-8@%0\"\n"
		     "994: .balign 4\n"
		     ".popsection\n"
		     :
		     : "r"(value));
}

int main(void)
{
	char line[64];
	long rounds = 0;

	setvbuf(stdout, 0, _IOLBF, 0);
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		fast(++rounds);
		printf("0\n");
	}
	return 0;
}
