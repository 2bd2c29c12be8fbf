/** What this process may do on the running kernel, for tests whose expectations depend on it. */
import * as Fs from "node:fs"

/** Bits of capabilities, from the kernel's header linux/capability.h. */
const bits = { CAP_SETUID: 7, CAP_SYS_ADMIN: 21, CAP_SYSLOG: 34 } as const

/** Whether a capability is effective for this process. */
export const has = (capability: keyof typeof bits): boolean => {
  const effective = /^CapEff:\s*([0-9a-f]+)/m.exec(Fs.readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0"
  return (BigInt(`0x${effective}`) >> BigInt(bits[capability]) & 1n) === 1n
}

/** Whether objects of the kernel may be opened by their identifiers, BTF among them: others than root may not. */
export const identifiers = (): boolean => has("CAP_SYS_ADMIN")

/** Whether the addresses in the kernel's symbol table are shown to this process: the first one is not 0. */
export const addresses = (): boolean => {
  if (has("CAP_SYSLOG")) return true
  const table = Fs.openSync("/proc/kallsyms", "r")
  const first = Buffer.alloc(64)
  Fs.readSync(table, first)
  Fs.closeSync(table)
  return !/^0+ /.test(first.toString("latin1"))
}
