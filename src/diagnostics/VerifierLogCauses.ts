/**
 * Why the verifier refuses programs: the causes, what each means, what to do about it, and the words by which it is known.
 *
 * The words are those of the kernel from Linux 4.x to 6.18; newer kernels write them, too, above their report. The table is
 * in the order in which it is searched: what is special comes before what is general.
 */

/** A cause by its name, which stays the same from release to release. */
export type CauseId = (typeof causes)[number]["id"]

/** What is known of a cause, apart from any log. */
export interface CauseKind {
  readonly id: string
  /** What it is, in a few words. */
  readonly title: string
  /** What it means and what to do, in a sentence. */
  readonly advice: string
  /**
   * Words of the complaint. The first group, where there is one, is what the complaint is about: a helper, a kernel
   * function, a map, a field.
   */
  readonly words: ReadonlyArray<RegExp>
}

/** All causes. */
export const causes = [
  {
    id: "PoisonedCoRe",
    title: "CO-RE relocation that the kernel cannot satisfy",
    advice:
      "the program comes to something that this kernel does not have: guard it with bpf_core_field_exists() or its like",
    words: [/failed to resolve CO-RE relocation (.*)/, /invalid func unknown#195896080/]
  },
  {
    id: "MissingMap",
    title: "map that was not created",
    advice:
      "the program comes to a map that was not created: create it, or decide by a constant whether the program uses it",
    words: [/BPF map '(.*)' is referenced but wasn't created/, /invalid func unknown#2001\d{6}/]
  },
  {
    id: "MissingKfunc",
    title: "kernel function that the kernel does not have",
    advice: "the program calls a kernel function that this kernel does not have: guard the call with bpf_ksym_exists()",
    words: [
      /kfunc '(.*)' is referenced but wasn't resolved/,
      /invalid func unknown#2002\d{6}/,
      /invalid kernel function call not eliminated in verifier pass/
    ]
  },
  {
    id: "MissingGpl",
    title: "license that is not GPL compatible",
    advice: "the helper is for GPL-compatible programs: char LICENSE[] SEC(\"license\") = \"GPL\";",
    words: [
      /GPL.restricted/,
      /non-GPL compatible/,
      /must have a GPL compatible license/,
      /cannot call GPL-restricted function/
    ]
  },
  {
    id: "KfuncNotAllowed",
    title: "kernel function that is not for this type of program",
    advice: "this kernel function is not for this type of program",
    words: [
      /calling kernel function (\S+) is not allowed/,
      /program must be sleepable to call sleepable kfunc (\S+)/,
      /destructive kfunc calls require CAP_SYS_BOOT/
    ]
  },
  {
    id: "HelperUnavailable",
    title: "helper that this kernel, or this type of program, does not have",
    advice: "the helper is newer than this kernel, or not for this type of program: see `feature probe`",
    words: [
      /program of this type cannot use helper (\w+)/,
      /unknown func (\w+)#/,
      /invalid func (unknown#\d+)/,
      /helper call is not allowed in probe/,
      /tracing progs cannot use (\w+) yet/,
      /(\w+) is not allowed in this (?:program|context)/
    ]
  },
  {
    id: "SleepingNotAllowed",
    title: "something that may sleep, where it must not",
    advice:
      "the program is not sleepable there: use a section with .s, or leave the region (RCU, lock, preemption) before",
    words: [
      /sleepable helper (\S+) in/,
      /kernel func (\S+) is sleepable within/,
      /global functions that may sleep are not allowed/,
      /programs? of type \S+ cannot be sleepable|Only .* programs can be sleepable/
    ]
  },
  {
    id: "LockHeld",
    title: "lock that is not taken, not released, or held where it must not be",
    advice: "a lock is taken and released on every path, one at a time, and nothing is called while it is held",
    words: [
      /function calls are not allowed while holding a lock/,
      /bpf_spin_lock cannot be accessed directly/,
      /bpf_spin_lock is missing|bpf_spin_unlock|Locking two bpf_spin_locks|missing unlock|second bpf_spin_lock/,
      /without taking a lock|is missing unlock|would lead to lock leak/,
      /cannot be used inside bpf_(?:spin_lock|rcu_read_lock|preempt_disable|local_irq_save)/,
      /unmatched rcu read unlock|unmatched attempt to enable preemption|rcu_read_lock is missing/
    ]
  },
  {
    id: "FunctionArguments",
    title: "arguments that a function of the program does not take",
    advice:
      "a global function is verified by the types of its arguments alone: pass what they say, or make the function static",
    words: [
      /Caller passes invalid args into func#\d+ \('(\w+)'\)/,
      /Caller passes invalid args into func#/,
      /arg#\d+ reference type\('.*'\) size cannot be determined/,
      /Global function (\w+)\(\) (?:with|doesn't|has)/
    ]
  },
  {
    id: "UnboundedLoop",
    title: "loop without an end that the verifier sees",
    advice: "the verifier sees no end of a loop: bound it by a constant, or use bpf_loop()",
    words: [/back-edge from insn/, /infinite loop detected/]
  },
  {
    id: "TooComplex",
    title: "program that takes too many steps to verify",
    advice:
      "verification takes too many steps: shorten loops, or split the program by global functions, bpf_loop() or tail calls",
    words: [
      /program is too large/,
      /too many (?:instructions|states)/,
      /is too complex/,
      /too many jumps/,
      /too many subprograms/
    ]
  },
  {
    id: "CallDepth",
    title: "calls that are nested too deep",
    advice:
      "functions may call each other eight deep, and not themselves: inline some, or use bpf_loop() or tail calls",
    words: [/the call stack of \d+ frames is too deep/, /recursive call/, /tail_calls are not allowed when call depth/]
  },
  {
    id: "StackTooLarge",
    title: "stack that is too large",
    advice: "the stack is 512 bytes for a program with all its subprograms: use a per-CPU array map for large values",
    words: [/combined stack size of/, /stack size .* exceeds|stack depth .* exceeds/]
  },
  {
    id: "UninitialisedStack",
    title: "read of stack that was never written",
    advice:
      "bytes of the stack are read, or given to a helper, that no path has written: initialise the whole variable",
    words: [
      // With `off=` it lies outside of the stack, with `off -8+0` it was not written.
      /invalid (?:indirect )?read from stack (?!R\d+ off=)/,
      /invalid indirect access to stack .* off .*\+\d+ size/,
      /invalid size of register fill/,
      /corrupted spill memory/,
      /uninitialized stack|invalid read of .* stack/
    ]
  },
  {
    id: "StackBounds",
    title: "access outside of the stack",
    advice:
      "the access lies outside of the stack or of the variable on it: the stack is 512 bytes, offsets must be bounded, and a key or value as large as the map's",
    words: [
      /invalid (?:unbounded )?(?:variable-offset )?(?:indirect )?(?:read|write|access)(?: to| from)? stack/,
      /invalid stack (?:type|off)/,
      /invalid (?:unbounded )?variable-offset (?:indirect )?(?:read|write|access)/,
      /attempt to corrupt spilled pointer/
    ]
  },
  {
    id: "PacketBounds",
    title: "packet access without a check of its length",
    advice: "the verifier does not know that the packet is long enough: compare data + length with data_end first",
    words: [/invalid access to packet/, /offset is outside of the packet/]
  },
  {
    id: "ReadOnly",
    title: "write to what can only be read, or read of what can only be written",
    advice:
      "this memory cannot be accessed so: maps with BPF_F_RDONLY_PROG or WRONLY_PROG, constants, keys, kernel objects",
    words: [
      /write into map forbidden/,
      /read from map forbidden/,
      /cannot write into (\w+)/,
      /only read(?: from \w+)? is supported/,
      /no write support to/,
      /frame pointer is read only/,
      /BPF_ATOMIC stores into R\d+ \w+ is not allowed/,
      /helper access to the packet is not allowed/
    ]
  },
  {
    id: "NullPointer",
    title: "pointer that may be NULL",
    advice: "the pointer may be NULL: compare it with NULL before it is used",
    words: [
      /invalid mem access '(\w*_or_null_?)'/,
      /type=(\w*_or_null_?) expected=/,
      /pointer arithmetic on (\w*_or_null_?) prohibited/,
      /Possibly NULL pointer passed to/,
      /arg#?\d* (?:is|may be) NULL/
    ]
  },
  // Known by what the register held, not by words.
  {
    id: "InvalidatedPointer",
    title: "pointer that a call has made invalid",
    advice:
      "a call before released what the pointer points to, or moved the packet: use it before the call, or load it anew",
    words: []
  },
  {
    id: "NotAPointer",
    title: "access through a number",
    advice:
      "the program follows a number, not a pointer: kernel memory is read through bpf_probe_read_kernel() or CO-RE macros",
    words: [/invalid mem access '(?:scalar|inv)'/]
  },
  {
    id: "InvalidPointer",
    title: "access through a pointer that cannot be followed",
    advice: "memory cannot be accessed through a pointer of this kind: use the helper or the field that is for it",
    words: [
      /invalid mem access '(\w+)'/,
      /access beyond struct|access beyond the end of/,
      /has no valid kptr|kptr access/
    ]
  },
  {
    id: "KptrAccess",
    title: "kernel pointer in a map that is used in another way than by its helpers",
    advice: "kernel pointers in map values are exchanged with bpf_kptr_xchg(), whole and at a constant offset",
    words: [
      /kptr (?:in map|access|offset|cannot be|has to be at the constant offset)/,
      /(?:storing|store) to (?:referenced )?kptr/,
      /no referenced kptr at map value/,
      /has to have BTF in order to use bpf_kptr_xchg/,
      /off=\d+ kptr isn't referenced/
    ]
  },
  {
    id: "ContextAccess",
    title: "context accessed in a way that this type of program does not allow",
    advice:
      "this field of the context cannot be accessed so by this type of program: look at its section name and the field's size",
    words: [
      /invalid bpf_context access off=(-?\d+) size=\d+/,
      /BPF_ST stores into R\d+ ctx is not allowed/,
      /dereference of modified ctx ptr/,
      /negative offset ctx ptr/,
      /variable ctx access/,
      /invalid (?:sock|sock_common|tcp_sock|xdp_sock) access off=(-?\d+)/,
      /same insn cannot be used with different pointers/,
      /pkt pointer .* cannot be/
    ]
  },
  {
    id: "Misaligned",
    title: "access that is not aligned",
    advice: "the access does not lie at a multiple of its size: align the member, or read it in smaller parts",
    words: [/misaligned (\w+) access/]
  },
  {
    id: "UnboundedOffset",
    title: "offset or size without bounds",
    advice:
      "the verifier cannot tell that the offset stays in bounds: compare it with the size before the access, and a length with 0",
    words: [
      /unbounded memory access/,
      /min value is negative/,
      /with unbounded min value is not allowed/,
      /invalid variable buffer offset/,
      /invalid zero-sized read/,
      /unbounded min value/
    ]
  },
  {
    id: "OutOfBounds",
    title: "access outside of a value or a buffer",
    advice:
      "the access lies outside of the value, or the verifier cannot tell that it does not: check the offset against the size",
    words: [
      /invalid access to map (?:value|key)/,
      /invalid access to memory/,
      /R\d+ (?:min|max) value is outside of the/,
      /makes map_value pointer be out of bounds/,
      /direct value offset of \d+ is not allowed/,
      /pointer offset -?\d+ is not allowed/,
      /math between \w+ pointer and -?\d+ is not allowed/,
      /invalid (?:rdwr|rdonly|tracepoint) buffer access|invalid negative access/
    ]
  },
  {
    id: "PointerArithmetic",
    title: "arithmetic that pointers do not allow",
    advice: "pointers may be moved by bounded numbers only, and not at all where unprivileged",
    words: [
      /pointer arithmetic on (\w+) prohibited/,
      /pointer arithmetic with/,
      /pointer \+= pointer prohibited/,
      /tried to subtract pointer from scalar/,
      /subtraction from stack pointer/,
      /bitwise operator .* on pointer/,
      /\d+-bit pointer arithmetic/,
      /math between/,
      /tried to (?:add|sub|alu)/
    ]
  },
  {
    id: "PointerLeak",
    title: "kernel address that would leak",
    advice:
      "programs without CAP_PERFMON must not give addresses of the kernel away: do not store, return or compare them",
    words: [
      /leaks addr/,
      /pointer comparison prohibited/,
      /partial copy of pointer/,
      /cannot (?:spill|return) (?:pointers?|stack)/
    ]
  },
  {
    id: "ReferenceLeak",
    title: "reference that is not released",
    advice: "what was acquired (a socket, a reserved ring buffer record) must be released on every path",
    words: [
      /[Uu]nreleased reference/,
      /would lead to reference leak/,
      /reference has not been (?:acquired|released)/,
      /cannot overwrite referenced dynptr/
    ]
  },
  {
    id: "ReleaseOfUnowned",
    title: "release of what was not acquired",
    advice: "only what this program has acquired itself, and unchanged, can be released",
    words: [
      /R\d+ must be referenced/,
      /dereference of modified alloc_mem ptr/,
      /must have zero offset when passed to release/,
      /arg \d+ is an unacquired reference/,
      /release of unowned/
    ]
  },
  {
    id: "UninitialisedRead",
    title: "register that was never written",
    advice:
      "a register is read that was never written: a variable is not initialised on some path, or an argument is missing",
    words: [/(R\d+) !read_ok/]
  },
  {
    id: "ReturnValue",
    title: "return value that this type of program must not have",
    advice: "programs of this type may only return certain values",
    words: [
      /At program exit the register R0/,
      /At async callback the register R0/,
      /At callback return the register R0/,
      /in callback fn .* return/
    ]
  },
  {
    id: "ConstantArgument",
    title: "argument that has to be a constant, or to be constant memory",
    advice:
      "this argument has to be known when the program is verified: a number, a string in .rodata that ends with NUL",
    words: [
      /does not point to a readonly map/,
      /string is not zero-terminated/,
      /must be a known constant|is not a const$/,
      /R\d+ is not a known constant|verifier internal: constant/,
      /doesn't support non-zero flags/
    ]
  },
  {
    id: "MapTypeForHelper",
    title: "map that this helper does not take",
    advice: "the helper is for maps of other types, or of values with a member that this map's have not",
    words: [
      /cannot pass map_type \d+ into func (\w+)/,
      /map_type \d+ is not|doesn't support map of type/,
      /map '(.*)' has no valid bpf_\w+/,
      /callback function not allowed for map/,
      /expected prog array map for tail call/
    ]
  },
  {
    id: "ArgumentType",
    title: "argument of another type than is expected",
    advice:
      "the function takes an argument of another type: look at its declaration, and check pointers for NULL before",
    words: [
      /R\d+ type=(\w+) expected=/,
      /kernel function (\S+) args#\d+ expected pointer to/,
      /arg#\d+ (?:expected|expects|pointer type|is)/,
      /expected (?:an initialized|an uninitialized|pointer to)/i,
      /function must return an array/
    ]
  },
  {
    id: "KernelSymbol",
    title: "variable of the kernel that has no address here",
    advice:
      "this kernel does not let programs have the address of this variable: declare it __weak and compare it with NULL",
    words: [/failed to find the address for kernel symbol '(\S+)'/, /failed to find .* in kernel/]
  },
  {
    id: "MissingBtf",
    title: "types that the kernel needs",
    advice: "the kernel needs the object's BTF for this program: compile with -g",
    words: [
      /missing btf func_info/,
      /Invalid BTF/i,
      /No BTF found/,
      /btf_fd/,
      /in-kernel BTF|kernel btf|doesn't have BTF/
    ]
  },
  {
    id: "AttachTarget",
    title: "target that programs cannot be attached to",
    advice: "the target in the section name is not a function of this kernel's BTF",
    words: [
      /attach_btf_id/,
      /is not a (?:function|kernel function)/,
      /attach to unsupported member (\w+)/,
      /target (?:program|function|is)/i,
      /is not modifiable|Cannot (?:extend|replace|recursively)/
    ]
  },
  {
    id: "MapDescriptor",
    title: "map that is not there",
    advice: "an instruction names a map by a descriptor that is closed or no map's",
    words: [/fd -?\d+ is not pointing to valid bpf_map/]
  },
  {
    id: "ProgramShape",
    title: "instructions that do not form a program",
    advice:
      "a part of the program can never run, or it runs out of itself: the compiler was not optimising (-O2), or the object was edited",
    words: [
      /unreachable insn/,
      /jump out of range/,
      /last insn is not an exit or jmp/,
      /jump into the middle of ldimm64/
    ]
  },
  {
    id: "InvalidInstruction",
    title: "instruction that this kernel does not know",
    advice:
      "an instruction is malformed (a division by 0, a shift by more bits than there are), or newer than this kernel: compile with a lower -mcpu",
    words: [
      /unknown opcode/,
      /uses reserved fields?/,
      /(?:invalid|unrecognized) bpf_ld_imm64 insn/,
      /R\d+ is invalid/,
      /invalid (?:BPF_|insn|shift|destination)/,
      /BPF_\w+ (?:is not supported|uses)/,
      /div by zero|invalid shift/,
      /call to invalid destination|invalid call/
    ]
  }
] as const satisfies ReadonlyArray<CauseKind>
