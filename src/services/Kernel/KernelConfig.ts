/**
 * Kernel configuration text: the options that a kernel was configured with, as `.config` lists them.
 *
 * Source: reference page `load`, section 4.
 */

/** A variable that the value of an option, or something else that a kernel tells of itself, is stored in. */
export interface Variable {
  /** The option (`CONFIG_HZ`), or `LINUX_KERNEL_VERSION`, `LINUX_HAS_BPF_COOKIE`, `LINUX_HAS_SYSCALL_WRAPPER`. */
  readonly name: string
  /** Whether it stays zero where the kernel has nothing of its name. */
  readonly weak: boolean
  /** Bytes. */
  readonly size: number
  /** Byte offset in the `.kconfig` map's value. */
  readonly dataOffset: number
  readonly kind: "bool" | "char" | "int" | "tristate" | "string"
  readonly signed: boolean
}

/**
 * The set options of a configuration by name (`CONFIG_BPF`), each with the text after its `=`, untouched. Lines that
 * set nothing (`# CONFIG_X is not set`, comments) are left out; of options that are set twice the first counts.
 */
export const parse = (text: string): ReadonlyMap<string, string> => {
  const options = new Map<string, string>()
  for (const line of text.split("\n")) {
    if (!line.startsWith("CONFIG_")) continue
    const equals = line.indexOf("=")
    if (equals < 0) continue
    const name = line.slice(0, equals)
    if (!options.has(name)) options.set(name, line.slice(equals + 1).trimEnd())
  }
  return options
}
