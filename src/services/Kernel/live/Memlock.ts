/**
 * The limit on locked memory, which kernels before 5.11 count maps and programs against.
 *
 * Newer kernels count them as memory of the cgroup. So the limit is touched only when it was in the way: a kernel without
 * that accounting answered `EPERM`, and the limit is finite. It is raised once per process, for it is the process's.
 *
 * Source: reference page `load`, section 1.1.
 */
import type { MemlockLimit, Sys } from "../sys/Sys.ts"

/** What to do about the limit: raise it as far as it goes, raise it to so many bytes, or leave it alone. */
export type MemlockOption = "raise" | "leave" | bigint

/** The value of a limit that is none. */
export const unlimited = 0xffff_ffff_ffff_ffffn

/** The limit of one process, as sessions see it. */
export interface Memlock {
  /** Raises the limit if it may be what a call was refused for. Answers whether another attempt may fare better. */
  readonly raise: (sys: Sys) => boolean
  /** The limit, where it may be what a call was refused for; `undefined` where it does not matter. */
  readonly inTheWay: (sys: Sys) => MemlockLimit | undefined
}

/** Sets the limit, or the soft limit as far as the hard one lets it. Answers whether there is more room than before. */
const set = (sys: Sys, before: MemlockLimit, wanted: bigint): boolean => {
  if (wanted <= before.soft) return false
  if (sys.setMemlock({ soft: wanted, hard: wanted > before.hard ? wanted : before.hard }) === 0) return true
  // Only a privileged process may raise the hard limit.
  const within = wanted < before.hard ? wanted : before.hard
  return within > before.soft && sys.setMemlock({ soft: within, hard: before.hard }) === 0
}

/** Watches the limit. `accounts` tells whether the kernel counts memory by cgroup instead; `undefined` where it is not known. */
export const make = (option: MemlockOption, accounts: () => boolean | undefined): Memlock => {
  let raised = false
  const inTheWay: Memlock["inTheWay"] = (sys) => {
    const limit = sys.memlock()
    if (typeof limit === "number" || limit.soft === unlimited) return undefined
    return accounts() === false ? limit : undefined
  }
  return {
    inTheWay,
    raise: (sys) => {
      if (raised || option === "leave") return false
      const limit = inTheWay(sys)
      if (limit === undefined) return false
      raised = true
      return set(sys, limit, option === "raise" ? unlimited : option)
    }
  }
}
