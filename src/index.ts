/**
 * effect-bpf: libbpf as composable Effect programs.
 *
 * One namespace per concept. Everything here runs in a browser, too; what needs Node is in `effect-bpf/node`.
 */

// From an object file to a loaded object: the stages, and what is handed from one to the next.

/** A named step from one immutable value to the next, and pipelines of them. */
export * as Stage from "./stages/Stage.ts"
/** Opens object files: programs, maps, externs, relocation records, types. */
export * as Open from "./stages/open/Open.ts"
/** Pure changes to an opened object: map sizes, initial values, which programs are loaded. */
export * as Edit from "./stages/open/Edit.ts"
/** Programs and maps that are loaded already, which the user gives to an object: by descriptor, pin or identifier. */
export * as Given from "./stages/open/Given.ts"
/** The global variables of an object. */
export * as Variables from "./stages/open/Variables.ts"
/** The types of the records in an object's ring and perf buffers, by the annotations at its maps. */
export * as EventTypes from "./stages/open/EventTypes.ts"
/** What section names mean: the SEC() definitions, and those of the user's own. */
export * as SectionDefinitions from "./stages/open/SectionDefinitions.ts"
/** Makes programs whole: subprograms laid out, references named, configuration values looked up. */
export * as Relocate from "./stages/relocate/Relocate.ts"
/** Plans the load of an object: which kernel calls, with which fallbacks. */
export * as Plan from "./stages/load/Plan.ts"
/** A load plan as data: steps that call, share a pinned map, or stand in for one that failed. */
export * as LoadPlan from "./stages/load/LoadPlan.ts"
/** Carries a plan out on the kernel that is provided. */
export * as Execute from "./stages/load/Execute.ts"
/** Some of an object's programs, with exactly the maps that they need. */
export * as Select from "./stages/load/Select.ts"
/** Loads in two halves: maps first, then programs, some or all; and unloads programs while maps live on. */
export * as Prepare from "./stages/load/Prepare.ts"
/** Pins and unpins an object's maps and programs together. */
export * as Pins from "./stages/load/Pins.ts"
/** Opens what an earlier load has pinned. */
export * as Reopen from "./stages/load/Reopen.ts"
/** Loads a program once more, differently. */
export * as Clone from "./stages/load/Clone.ts"
/** The global variables of a loaded object while its programs run. */
export * as Globals from "./stages/load/Globals.ts"
/** The memory of a loaded object's arena. */
export * as ArenaMemory from "./stages/load/ArenaMemory.ts"
/** Whether a map that is there already can stand in for one that an object defines. */
export * as PinnedMap from "./stages/load/PinnedMap.ts"
/** Pure stages that ask for what they must know of a kernel, and the driver that answers them. */
export * as Asked from "./stages/Asked.ts"

// The kernel, by its contract.

/** The service that carries calls out, its sessions, and how attempts are observed. */
export * as Kernel from "./services/Kernel/Kernel.ts"
/** The calls that a kernel understands, as data, and what they answer. */
export * as KernelCall from "./services/Kernel/KernelCall.ts"
/** What is known of a kernel, and what can be asked of it. */
export * as KernelInfo from "./services/Kernel/KernelInfo.ts"
/** The features that decide how an object is loaded: supported, unsupported, or refused. */
export * as Feature from "./services/Kernel/Feature.ts"
/** All that can be said of what a kernel supports, as a value: what `feature probe` prints. */
export * as FeatureReport from "./services/Kernel/FeatureReport.ts"
/** What can go wrong between a plan and a kernel. */
export * as KernelError from "./services/Kernel/KernelError.ts"
/** A kernel in this process: objects are loaded and run with no root and no Linux. */
export * as KernelSimulated from "./services/Kernel/KernelSimulated.ts"
/** What is known of a kernel that is not at hand: its types, its configuration, its features; as files and as a value. */
export * as KernelProfile from "./services/Kernel/KernelProfile.ts"
/** The kernel that a profile describes: answers from the profile, loads and runs in this process. */
export * as KernelProfiled from "./services/Kernel/KernelProfiled.ts"
/** A kernel that records a load as a loader program. */
export * as KernelRecording from "./services/Kernel/KernelRecording.ts"
/** A kernel that remembers what was asked of it: a decorator of any other. */
export * as KernelTraced from "./services/Kernel/KernelTraced.ts"
/** A kernel that fails on purpose: a decorator of any other, for tests. */
export * as KernelFaulty from "./services/Kernel/KernelFaulty.ts"
/** Names for kernel objects inside one session. */
export * as Ref from "./services/Kernel/Ref.ts"
/** What the sessions of all kernels have in common: for kernels of one's own. */
export * as Session from "./services/Kernel/Session.ts"
/** The numbers of bpf(2) under their kernel names, and the names that bpftool prints. */
export * as BpfConstants from "./services/Kernel/abi/BpfConstants.ts"
/** Error numbers by their names. */
export * as Errno from "./services/Kernel/abi/Errno.ts"

// Attaching.

/** Attachments as scoped resources: updated, pinned, opened again, detached. */
export * as Link from "./attach/Link.ts"
/** What can go wrong when a program is attached. */
export * as AttachError from "./attach/AttachError.ts"
/** What the name of a section says of how its program is attached. */
export * as AttachSpec from "./stages/open/AttachSpec.ts"
/** Attaches programs to functions of the kernel. */
export * as Kprobe from "./attach/Kprobe.ts"
/** Attaches one program to many functions of the kernel. */
export * as KprobeMulti from "./attach/KprobeMulti.ts"
/** Attaches programs to system calls. */
export * as Ksyscall from "./attach/Ksyscall.ts"
/** Attaches programs to tracepoints. */
export * as Tracepoint from "./attach/Tracepoint.ts"
/** Attaches programs to tracepoints, with the arguments as the kernel passes them. */
export * as RawTracepoint from "./attach/RawTracepoint.ts"
/** Attaches programs to what they were loaded for: functions and tracepoints by their types, hooks, other programs. */
export * as Tracing from "./attach/Tracing.ts"
/** Attaches one program to many functions of the kernel by their types. */
export * as TracingMulti from "./attach/TracingMulti.ts"
/** Iterators over objects of the kernel, and what they write as a stream. */
export * as Iter from "./attach/Iter.ts"
/** Attaches programs to perf events: clocks and counters. */
export * as PerfEvent from "./attach/PerfEvent.ts"
/** Registers structs of functions that the kernel calls (struct_ops), such as congestion controls of TCP. */
export * as StructOps from "./attach/StructOps.ts"
/** Network devices and namespaces, and places among other programs, as all kinds of the network take them. */
export * as Network from "./attach/Network.ts"
/** Attaches XDP programs, by links and by netlink. */
export * as Xdp from "./attach/Xdp.ts"
/** Attaches programs to what comes in and goes out of a network device, in an order of their own. */
export * as Tcx from "./attach/Tcx.ts"
/** Attaches programs in traffic control, as filters of a clsact. */
export * as Tc from "./attach/Tc.ts"
/** Attaches programs to netkit devices. */
export * as Netkit from "./attach/Netkit.ts"
/** Attaches programs between the hooks of netfilter. */
export * as Netfilter from "./attach/Netfilter.ts"
/** Attaches flow dissectors and sk_lookup programs to network namespaces. */
export * as Netns from "./attach/Netns.ts"
/** Attaches programs to cgroups. */
export * as Cgroup from "./attach/Cgroup.ts"
/** Attaches programs to maps of sockets. */
export * as Sockmap from "./attach/Sockmap.ts"
/** Attaches programs to infrared receivers. */
export * as Lirc from "./attach/Lirc.ts"
/** Puts a newly loaded object in the place of a running one, by its pinned links. */
export * as Upgrade from "./attach/Upgrade.ts"

// Probes of user programs.

/** The notes in which programs and libraries tell of their probes (USDT). */
export * as UsdtNotes from "./usdt/Notes.ts"
/** Where the arguments of a probe are: read from a note's text and written again, for each architecture. */
export * as UsdtArgument from "./usdt/Argument.ts"
/** The records by which programs find the arguments, laid out as the object's own types say. */
export * as UsdtSpec from "./usdt/Spec.ts"

// Loader programs.

/** A recorded load as data: one program and one blob that make the same calls inside the kernel. */
export * as LoaderProgram from "./stages/gen/LoaderProgram.ts"
/** What a loader has to be told of the machine that it runs on, as data. */
export * as LoaderInput from "./stages/gen/LoaderInput.ts"
/** Fills a loader's inputs from what is known of a kernel. */
export * as LoaderInputs from "./stages/gen/LoaderInputs.ts"
/** What of a loader is signed, and the digest that its map is exclusive to. */
export * as LoaderSignature from "./stages/gen/LoaderSignature.ts"
/** Loads an object by its loader program, on the kernel that is provided. */
export * as RunLoader from "./stages/gen/RunLoader.ts"
/** Skeletons in C: a header with an object in it, over libbpf. */
export * as SkeletonC from "./stages/gen/SkeletonC.ts"
/** Subskeletons in C: a header that finds what is in a library object, over libbpf. */
export * as SubskeletonC from "./stages/gen/SubskeletonC.ts"
/** Subskeletons in TypeScript: a module that does, on the runtime of skeletons (`effect-bpf/skeleton`). */
export * as SubskeletonTs from "./stages/gen/SubskeletonTs.ts"
/** Light skeletons in C: a header that loads an object by its loader program. */
export * as LightSkeletonC from "./stages/gen/LightSkeletonC.ts"
/** Skeletons in TypeScript: a module with an object's types, maps, programs and variables (`effect-bpf/skeleton`). */
export * as SkeletonTs from "./stages/gen/SkeletonTs.ts"
/** Light skeletons in TypeScript: a module that does, on a small runtime (`effect-bpf/light`). */
export * as LightSkeletonTs from "./stages/gen/LightSkeletonTs.ts"
/** Types of BTF as TypeScript text: interfaces, and codecs that read at offsets which stand in the text. */
export * as TsCodecs from "./stages/gen/skeleton/TsCodecs.ts"
/** Runs a loader in the virtual machine, with its kernel calls made on any session. */
export * as Replay from "./stages/gen/Replay.ts"
/** What a loader program would load, without loading anything. */
export * as LoaderExplain from "./stages/gen/LoaderExplain.ts"
/** How the calls of a loader program differ from a plan. */
export * as LoaderDiff from "./stages/gen/LoaderDiff.ts"
/** Loader programs of others: out of C light skeletons, or as their two pieces. */
export * as ForeignLoader from "./stages/gen/ForeignLoader.ts"
/** Which of the symbols that a loader program looks up a kernel has. */
export * as LoaderSymbols from "./stages/gen/LoaderSymbols.ts"

// Linking.

/** The static linker: many objects in, one out, at once or one by one. */
export * as Linker from "./linker/Linker.ts"
/** The map of a link, as data and as text: what came from where, which definition counts and why. */
export * as LinkMap from "./linker/LinkMap.ts"

// The virtual machine.

/** Runs BPF code: bounded, resumable, over memory of regions. */
export * as Vm from "./vm/Vm.ts"

// Tests.

/** Tests of BPF programs: runs, maps by values, events, printed lines, coverage by line; on any kernel. */
export * as Testing from "./testing/Testing.ts"

// Events.

// Maps by the types of their keys and values.

/** Hashes and what works alike: get, set, take, batches, all elements as a stream that survives changes. */
export * as TypedMap from "./maps/TypedMap.ts"
/** Arrays: elements by index. */
export * as ArrayMap from "./maps/ArrayMap.ts"
/** Hashes and arrays with a value for each CPU. */
export * as PerCpuMap from "./maps/PerCpuMap.ts"
/** Queues and stacks: push, peek, pop. */
export * as QueueMap from "./maps/QueueMap.ts"
/** Sets that answer "certainly not" or "perhaps". */
export * as BloomFilter from "./maps/BloomFilter.ts"
/** Tries of prefixes, and codecs of IP prefixes as text. */
export * as LpmTrie from "./maps/LpmTrie.ts"
/** Arrays in memory that the kernel shares: read and written without calls. */
export * as MappedArray from "./maps/MappedArray.ts"
/** Global variables as live properties. */
export * as LiveView from "./maps/LiveView.ts"
/** Maps of maps and arrays of programs. */
export * as SlotMap from "./maps/SlotMap.ts"
/** Values that belong to tasks, sockets, cgroups or files. */
export * as StorageMap from "./maps/StorageMap.ts"
/** Codecs that a schema refines: values of the user's own. */
export * as SchemaCodec from "./maps/SchemaCodec.ts"

/** Reads ring buffers as they fill: values as a stream or for `for await`, or records where they lie. */
export * as RingReader from "./events/RingReader.ts"
/** Takes the records that a ring buffer has, without waiting. */
export * as RingBuffer from "./events/RingBuffer.ts"
/** Counts of the records that found no room in a ring buffer, which programs keep. */
export * as Losses from "./events/Losses.ts"
/** What programs print to their standard output and error. */
export * as ProgStream from "./events/ProgStream.ts"
/** Writes user ring buffers: records that programs take. */
export * as UserRingBuffer from "./events/UserRingBuffer.ts"
/** Reads perf buffers: the records of all CPUs, and what was lost. */
export * as PerfBuffer from "./events/PerfBuffer.ts"

// CO-RE.

/** Applies CO-RE records to instructions: a pure function of the object's types and the kernel's. */
export * as Core from "./stages/relocate/core/Core.ts"
/** The BTF that objects need of a kernel: the few of its types that their CO-RE records look at. */
export * as MinCoreBtf from "./stages/gen/MinCoreBtf.ts"
/** What became of each CO-RE relocation of an object: where, what it accesses, the kernel's types, guarded or not. */
export * as CoreReport from "./stages/relocate/CoreReport.ts"

// Diagnostics.

/** What programs cost the verifier and the kernel, kept in a file and compared with thresholds. */
export * as Budget from "./diagnostics/Budget.ts"
/** Loads that are measured: the numbers of a budget. */
export * as Measure from "./diagnostics/Measure.ts"
/** What is wrong with an object, as one kind of value whatever found it: for SARIF, annotations and the like. */
export * as Diagnostic from "./diagnostics/Diagnostic.ts"
/** Whether objects can be loaded into kernels, by the kernels' types: cells, findings, histories of fields. */
export * as Compatibility from "./diagnostics/Compatibility.ts"
/** What objects need of the kernel, each with the oldest release that has it, and the oldest kernel for the whole. */
export * as Requirements from "./diagnostics/Requirements.ts"
/** The verifier's log, read for its user: the lines that name the cause, and what they mean. */
export * as VerifierLog from "./diagnostics/VerifierLog.ts"

/** The verifier's log as data: instructions, register states, branches, lines of C, the complaint, statistics. */
export * as VerifierLogParse from "./diagnostics/VerifierLogParse.ts"

/** Registers and stack slots as the verifier's log tells of them. */
export * as VerifierLogState from "./diagnostics/VerifierLogState.ts"

/** The report that newer kernels append to the verifier's log. */
export * as VerifierLogReport from "./diagnostics/VerifierLogReport.ts"

/** Why the verifier refused a program, found in its log. */
export * as VerifierLogCause from "./diagnostics/VerifierLogCause.ts"

/** The causes of refusals, with what to do about each. */
export * as VerifierLogCauses from "./diagnostics/VerifierLogCauses.ts"

/** A refused program explained: the place in C, what the verifier knew there, how it came there, what to change. */
export * as VerifierLogExplanation from "./diagnostics/VerifierLogExplanation.ts"

/** Registers and stack slots in words. */
export * as VerifierLogWords from "./diagnostics/VerifierLogWords.ts"

/** Why kernels refuse calls, where it is not the verifier that does. */
export * as RefusalCause from "./services/Kernel/RefusalCause.ts"

/** Which attributes of a map a kernel refuses, found by trying. */
export * as MapRefusal from "./stages/load/MapRefusal.ts"

/** The branches by which the verifier came to where a program was refused. */
export * as VerifierLogPath from "./diagnostics/VerifierLogPath.ts"

// Formats.

/** ELF files, parsed and written. */
export * as Elf from "./services/Elf/Elf.ts"
/** Bytes that are read in parts: files of which only the tables are wanted, members of archives. */
export * as ByteSource from "./services/Elf/ByteSource.ts"
/** Executables and shared libraries of both classes, read in parts: sections, segments. */
export * as ElfBinary from "./services/Elf/ElfBinary.ts"
/** Where functions are in binaries: by name, version or pattern. */
export * as FunctionOffset from "./services/Elf/FunctionOffset.ts"
/** Zip archives, and where their stored members lie. */
export * as Archive from "./services/Elf/Archive.ts"
/** The service that opens ELF files by path. */
export * as ElfService from "./services/Elf/ElfService.ts"
/** BTF: the types of objects and kernels. */
export * as Btf from "./btf/Btf.ts"
/** The BTF of a file: a raw blob, or sections of an ELF file. */
export * as BtfFile from "./btf/BtfFile.ts"
/** `.BTF.ext`: functions, source lines and CO-RE relocations of the instructions. */
export * as BtfExt from "./btf/BtfExt.ts"
/** BTF built anew, extended and edited. */
export * as BtfEdit from "./btf/BtfEdit.ts"
/** BTF as bytes, in either byte order. */
export * as BtfEncode from "./btf/BtfEncode.ts"
/** Whether types are laid out as they were: their layouts as short texts. */
export * as BtfLayout from "./btf/BtfLayout.ts"
/** Some of the types of BTF, with some of their members, as BTF of their own. */
export * as BtfSubset from "./btf/BtfSubset.ts"
/** The types of BTF in another order. */
export * as BtfPermute from "./btf/BtfPermute.ts"
/** Dedup: each type and string of merged BTF once, declarations resolved, split BTF against its base. */
export * as BtfDedup from "./btf/BtfDedup.ts"
/** Split BTF made independent of the exact base that it was built on. */
export * as BtfDistill from "./btf/BtfDistill.ts"
/** Split BTF moved from its distilled base onto a real one. */
export * as BtfRelocate from "./btf/BtfRelocate.ts"
/** What differs between the types of two kernels, and which accesses break. */
export * as BtfDiff from "./btf/BtfDiff.ts"
/** BTF as text: C headers, lists of types, JSON. */
export * as BtfDump from "./btf/BtfDump.ts"
/** JavaScript values to and from the bytes of a BTF type. */
export * as BtfValue from "./btf/BtfValue.ts"
/** Codecs by BTF type: reading cannot fail, for all parts of the type were looked at. */
export * as BtfCodec from "./btf/BtfCodec.ts"
/** Values of one type and their bytes: what typed maps and event streams take. */
export * as Codec from "./btf/Codec.ts"
/** Codecs of types whose layout was known when the code was written: what generated modules are made of. */
export * as LayoutCodec from "./btf/LayoutCodec.ts"

/** Effect schemas of BTF types, and codecs between bytes and values. */
export * as BtfSchema from "./btf/BtfSchema.ts"
/** Bytes of a BTF type as text, in the format of libbpf's typed data dump. */
export * as BtfDataDump from "./btf/BtfDataDump.ts"
/** BPF instructions: reading, writing and changing slots of code. */
export * as Insn from "./insn/Insn.ts"
/** BPF instructions made from their parts. */
export * as Encode from "./insn/Encode.ts"
/** BPF code as text. */
export * as Disassemble from "./insn/Disassemble.ts"
