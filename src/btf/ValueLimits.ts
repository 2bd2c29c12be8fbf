/** How large values may be. */

/** The largest type that values are made for, in bytes. */
export const SIZE_LIMIT = 1 << 28

/** The deepest nesting of structs and arrays that has values. */
export const DEPTH_LIMIT = 64
