/**
 * Names of maps and programs as the kernel takes them.
 */
import { BPF_OBJ_NAME_LEN } from "./BpfConstants.ts"

/**
 * A name that the kernel accepts: at most 15 characters, each a letter, digit, `_` or `.`; any other becomes `_`. (Linux
 * 4.15 to 5.1 take no dots either.)
 */
export const kernelName = (name: string): string =>
  name.slice(0, BPF_OBJ_NAME_LEN - 1).replaceAll(/[^A-Za-z0-9_.]/g, "_")
