/**
 * What of effect-bpf needs Node: the kernel that this machine runs, and kernel profiles in folders.
 */

/** The running kernel through bpf(2), as a layer of the Kernel service; and whether this process may use it. */
export * as KernelLive from "./services/Kernel/KernelLive.ts"

/** Takes the profile of the running kernel. */
export * as KernelSnapshot from "./services/Kernel/live/Snapshot.ts"

/** Reads and writes kernel profiles in folders, and takes a bare BTF file for one. */
export * as ProfileFolder from "./services/Kernel/live/ProfileFolder.ts"

/** Attaches a whole object by its sections; the kinds of attachment in one table. */
export * as Attach from "./attach/Attach.ts"

/** Attaches programs to functions of programs and libraries. */
export * as Uprobe from "./attach/Uprobe.ts"

/** Attaches one program to many functions of a program or library. */
export * as UprobeMulti from "./attach/UprobeMulti.ts"

/** Processes by the numbers that they have in other pid namespaces. */
export * as PidNamespace from "./attach/PidNamespace.ts"

/** Attaches programs to probes of programs and libraries (USDT). */
export * as Usdt from "./attach/Usdt.ts"

/** The probes of programs, libraries and processes. */
export * as UsdtList from "./attach/UsdtList.ts"

/** Binaries by path, by name or as members of archives, and the places of their functions. */
export * as BinaryFile from "./attach/BinaryFile.ts"

/** Files as sources of bytes, of which only what is asked for is read. */
export * as FileSource from "./attach/FileSource.ts"

/** Finds programs and libraries by their names alone. */
export * as LibrarySearch from "./attach/LibrarySearch.ts"

/** What running processes say of the files that they execute. */
export * as Process from "./attach/Process.ts"

/** The mappings of a process as data. */
export * as ProcessMaps from "./attach/ProcessMaps.ts"

/** The C functions of this process, and buffers over its memory: for sockets and the like, which bpf(2) does not make. */
export * as Foreign from "./services/Kernel/sys/Foreign.ts"

/** Calls made in other network namespaces, and sockets of netlink. */
export * as Net from "./services/Kernel/sys/Net.ts"

/** Waits for descriptors of the user's own, off the main thread. */
export * as Readiness from "./services/Kernel/live/Readiness.ts"
