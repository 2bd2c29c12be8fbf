/**
 * Constants of the ELF64 format in the spelling of the System V gABI and of the kernel's `linux/elf.h`.
 *
 * Numbers are as stored in the file, before any reading of byte order. Section flags (`SHF_*`) are bigints because
 * `sh_flags` is a 64-bit field; all others fit a number.
 *
 * Source: System V gABI 4.3 draft, chapters 4 and 5; `include/uapi/linux/elf.h`, `include/uapi/linux/elf-em.h`; the
 * LLVM extensions page for `SHT_LLVM_*`; `llvm/BinaryFormat/ELFRelocs/BPF.def` for `R_BPF_*`.
 */

/** Position in `e_ident` of the file class. */
export const EI_CLASS = 4
/** Position in `e_ident` of the byte order. */
export const EI_DATA = 5
/** Position in `e_ident` of the identification's version. */
export const EI_VERSION = 6
/** Position in `e_ident` of the operating system ABI. */
export const EI_OSABI = 7
/** Position in `e_ident` of the ABI's version. */
export const EI_ABIVERSION = 8

/** File class: 32-bit objects, which this library does not read. */
export const ELFCLASS32 = 1
/** File class: 64-bit objects. */
export const ELFCLASS64 = 2

/** Byte order: little-endian. */
export const ELFDATA2LSB = 1
/** Byte order: big-endian. */
export const ELFDATA2MSB = 2

/** The only version of the format. */
export const EV_CURRENT = 1

/** File type: none. */
export const ET_NONE = 0
/** File type: relocatable file, which is what a BPF object is. */
export const ET_REL = 1
/** File type: executable with fixed addresses. */
export const ET_EXEC = 2
/** File type: shared object, or position-independent executable. */
export const ET_DYN = 3
/** File type: core dump. */
export const ET_CORE = 4

/** Machine: none; old LLVM wrote it into BPF objects. */
export const EM_NONE = 0
/** Machine: Intel 80386. */
export const EM_386 = 3
/** Machine: PowerPC. */
export const EM_PPC = 20
/** Machine: PowerPC, 64-bit. */
export const EM_PPC64 = 21
/** Machine: IBM S/390. */
export const EM_S390 = 22
/** Machine: Arm, 32-bit. */
export const EM_ARM = 40
/** Machine: SPARC, 64-bit. */
export const EM_SPARCV9 = 43
/** Machine: AMD x86-64. */
export const EM_X86_64 = 62
/** Machine: Arm, 64-bit. */
export const EM_AARCH64 = 183
/** Machine: RISC-V. */
export const EM_RISCV = 243
/** Machine: the BPF virtual machine of the Linux kernel. */
export const EM_BPF = 247
/** Machine: LoongArch. */
export const EM_LOONGARCH = 258

/** Section type: inactive header; its other members have no meaning. */
export const SHT_NULL = 0
/** Section type: bytes whose meaning the program defines. */
export const SHT_PROGBITS = 1
/** Section type: the symbol table for linking. */
export const SHT_SYMTAB = 2
/** Section type: string table. */
export const SHT_STRTAB = 3
/** Section type: relocations with explicit addends. */
export const SHT_RELA = 4
/** Section type: symbol hash table. */
export const SHT_HASH = 5
/** Section type: information for dynamic linking. */
export const SHT_DYNAMIC = 6
/** Section type: notes. */
export const SHT_NOTE = 7
/** Section type: takes no space in the file. */
export const SHT_NOBITS = 8
/** Section type: relocations whose addends are in the relocated place. */
export const SHT_REL = 9
/** Section type: reserved, without meaning. */
export const SHT_SHLIB = 10
/** Section type: the symbol table for dynamic linking. */
export const SHT_DYNSYM = 11
/** Section type: pointers to initialisation functions. */
export const SHT_INIT_ARRAY = 14
/** Section type: pointers to termination functions. */
export const SHT_FINI_ARRAY = 15
/** Section type: pointers to functions that run before all other initialisation. */
export const SHT_PREINIT_ARRAY = 16
/** Section type: section group. */
export const SHT_GROUP = 17
/** Section type: full section indices of the symbols whose `st_shndx` is `SHN_XINDEX`. */
export const SHT_SYMTAB_SHNDX = 18
/** Section type: first value reserved for the operating system. */
export const SHT_LOOS = 0x60000000
/** Section type: LLVM's table of address-significant symbols. */
export const SHT_LLVM_ADDRSIG = 0x6fff4c03
/** Section type: hash table in GNU style. */
export const SHT_GNU_HASH = 0x6ffffff6
/** Section type: version definitions. */
export const SHT_GNU_verdef = 0x6ffffffd
/** Section type: version requirements. */
export const SHT_GNU_verneed = 0x6ffffffe
/** Section type: version of each dynamic symbol. */
export const SHT_GNU_versym = 0x6fffffff
/** Section type: first value reserved for the processor. */
export const SHT_LOPROC = 0x70000000
/** Section type: first value reserved for application programs. */
export const SHT_LOUSER = 0x80000000

/** Section flag: writable at run time. */
export const SHF_WRITE = 0x1n
/** Section flag: occupies memory at run time. */
export const SHF_ALLOC = 0x2n
/** Section flag: holds machine instructions. */
export const SHF_EXECINSTR = 0x4n
/** Section flag: may be merged to remove duplicates. */
export const SHF_MERGE = 0x10n
/** Section flag: consists of NUL-terminated strings. */
export const SHF_STRINGS = 0x20n
/** Section flag: `sh_info` holds a section index. */
export const SHF_INFO_LINK = 0x40n
/** Section flag: must keep its order relative to the section in `sh_link`. */
export const SHF_LINK_ORDER = 0x80n
/** Section flag: needs handling by the operating system. */
export const SHF_OS_NONCONFORMING = 0x100n
/** Section flag: member of a section group. */
export const SHF_GROUP = 0x200n
/** Section flag: thread-local storage. */
export const SHF_TLS = 0x400n
/** Section flag: compressed, beginning with an `Elf64_Chdr`. */
export const SHF_COMPRESSED = 0x800n
/** Section flag: left out of executables and shared objects. */
export const SHF_EXCLUDE = 0x80000000n

/** Section index: undefined. */
export const SHN_UNDEF = 0
/** Section index: the first reserved value; up to `SHN_HIRESERVE` no 16-bit index names a section. */
export const SHN_LORESERVE = 0xff00
/** Section index: the symbol's value is absolute. */
export const SHN_ABS = 0xfff1
/** Section index: common block that is not allocated yet. */
export const SHN_COMMON = 0xfff2
/** Section index: the real index does not fit 16 bits and is stored elsewhere. */
export const SHN_XINDEX = 0xffff
/** Section index: the last reserved value. */
export const SHN_HIRESERVE = 0xffff

/** Program header count: the real count does not fit 16 bits and is in `sh_info` of section 0. */
export const PN_XNUM = 0xffff

/** Symbol binding: visible in its object file only. */
export const STB_LOCAL = 0
/** Symbol binding: visible to all files that are combined. */
export const STB_GLOBAL = 1
/** Symbol binding: like global, with lower precedence. */
export const STB_WEAK = 2
/** Symbol binding: GNU unique. */
export const STB_GNU_UNIQUE = 10

/** Symbol type: not specified. */
export const STT_NOTYPE = 0
/** Symbol type: data. */
export const STT_OBJECT = 1
/** Symbol type: function. */
export const STT_FUNC = 2
/** Symbol type: stands for a section. */
export const STT_SECTION = 3
/** Symbol type: name of the source file. */
export const STT_FILE = 4
/** Symbol type: common block. */
export const STT_COMMON = 5
/** Symbol type: thread-local. */
export const STT_TLS = 6
/** Symbol type: function whose address a resolver gives. */
export const STT_GNU_IFUNC = 10

/** Symbol visibility: as the binding says. */
export const STV_DEFAULT = 0
/** Symbol visibility: hidden, with meaning for the processor. */
export const STV_INTERNAL = 1
/** Symbol visibility: not visible to other components. */
export const STV_HIDDEN = 2
/** Symbol visibility: visible, but not preemptable. */
export const STV_PROTECTED = 3

/** BPF relocation: none. */
export const R_BPF_NONE = 0
/** BPF relocation: 64-bit immediate of a two-slot load. */
export const R_BPF_64_64 = 1
/** BPF relocation: 64-bit data. */
export const R_BPF_64_ABS64 = 2
/** BPF relocation: 32-bit data. */
export const R_BPF_64_ABS32 = 3
/** BPF relocation: 32-bit data which a static linker must leave alone (`.BTF`, `.BTF.ext`). */
export const R_BPF_64_NODYLD32 = 4
/** BPF relocation: immediate of a call, counted in slots. */
export const R_BPF_64_32 = 10

/** Segment type: unused. */
export const PT_NULL = 0
/** Segment type: loaded into memory. */
export const PT_LOAD = 1
/** Segment type: information for dynamic linking. */
export const PT_DYNAMIC = 2
/** Segment type: path of the interpreter. */
export const PT_INTERP = 3
/** Segment type: notes. */
export const PT_NOTE = 4
/** Segment type: the program header table itself. */
export const PT_PHDR = 6
/** Segment type: template of thread-local storage. */
export const PT_TLS = 7

/** Segment flag: executable. */
export const PF_X = 1
/** Segment flag: writable. */
export const PF_W = 2
/** Segment flag: readable. */
export const PF_R = 4

/** Dynamic entry: the end of the list. */
export const DT_NULL = 0
/** Dynamic entry: place of the name of a library that is needed. */
export const DT_NEEDED = 1
/** Dynamic entry: address of the hash table of symbols. */
export const DT_HASH = 4
/** Dynamic entry: address of the string table. */
export const DT_STRTAB = 5
/** Dynamic entry: address of the symbol table. */
export const DT_SYMTAB = 6
/** Dynamic entry: bytes of the string table. */
export const DT_STRSZ = 10
/** Dynamic entry: bytes of a symbol. */
export const DT_SYMENT = 11
/** Dynamic entry: address of the hash table in GNU style. */
export const DT_GNU_HASH = 0x6ffffef5
/** Dynamic entry: address of the symbols' version indices. */
export const DT_VERSYM = 0x6ffffff0
/** Dynamic entry: address of the definitions of versions. */
export const DT_VERDEF = 0x6ffffffc
/** Dynamic entry: number of definitions of versions. */
export const DT_VERDEFNUM = 0x6ffffffd
/** Dynamic entry: address of the versions that are needed of other files. */
export const DT_VERNEED = 0x6ffffffe
/** Dynamic entry: number of files of which versions are needed. */
export const DT_VERNEEDNUM = 0x6fffffff

/** Version index: the symbol is local to its file. */
export const VER_NDX_LOCAL = 0
/** Version index: the symbol has no version. */
export const VER_NDX_GLOBAL = 1
/** Bit of a version index: not the version that a link without one gets (`name@VERSION`, not `name@@VERSION`). */
export const VERSYM_HIDDEN = 0x8000
/** The version of the structures that define versions. */
export const VER_DEF_CURRENT = 1
/** The version of the structures that need versions. */
export const VER_NEED_CURRENT = 1
