/**
 * Names of kernel modules.
 */

/** Longest name of a module, bytes: `MODULE_NAME_LEN` less the closing NUL, on 64-bit kernels. */
const maximumLength = 55

/** Whether a name can be a module's, and so the name of a file: nothing that leads elsewhere, and not `vmlinux`. */
export const isModuleName = (name: string): boolean =>
  name.length <= maximumLength && /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(name) && name !== "vmlinux"
