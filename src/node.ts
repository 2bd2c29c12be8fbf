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
