/**
 * Names of a bounded length.
 *
 * Names are as long as a file likes, and every instruction may refer to one; what is printed once per reference is
 * clipped, so that the output stays in proportion to the file.
 */

/** The longest name that is printed whole, in UTF-16 units. Identifiers of the kernel have at most 511. */
const longest = 512

/** The name, with an ellipsis for what is beyond the length that people and kernels bear. */
export const clip = (name: string): string => name.length <= longest ? name : `${name.slice(0, longest)}…`
