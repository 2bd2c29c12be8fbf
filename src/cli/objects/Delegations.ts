/**
 * What bpf file systems delegate to the processes of their user namespaces, which make tokens of it. Pure.
 *
 * Source: the options `delegate_*` of mounts, `bpf_show_options` in `kernel/bpf/inode.c`.
 */
import type { Mount } from "./Mounts.ts"

/** What a file system delegates: names as the kernel writes them, `any` for all, or a number for what has no name. */
export interface Delegation {
  readonly folder: string
  /** Commands of bpf(2). */
  readonly commands: ReadonlyArray<string>
  readonly maps: ReadonlyArray<string>
  readonly programs: ReadonlyArray<string>
  readonly attachTypes: ReadonlyArray<string>
}

const options = ["delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"] as const

/** The bpf file systems among mounts that delegate something. */
export const delegations = (mounts: ReadonlyArray<Mount>): ReadonlyArray<Delegation> =>
  mounts.flatMap(({ folder, options: written, type }) => {
    if (type !== "bpf") return []
    const values = new Map<string, string>()
    for (const option of written.split(",")) {
      const equals = option.indexOf("=")
      if (equals > 0) values.set(option.slice(0, equals), option.slice(equals + 1))
    }
    if (!options.some((name) => values.has(name))) return []
    const of = (name: (typeof options)[number]): ReadonlyArray<string> =>
      (values.get(name) ?? "").split(":").filter((each) => each !== "")
    return [{
      folder,
      commands: of("delegate_cmds"),
      maps: of("delegate_maps"),
      programs: of("delegate_progs"),
      attachTypes: of("delegate_attachs")
    }]
  })
