/**
 * Which of many ranges of bytes a byte lies in.
 */

/** Bytes from `start` up to, not including, `end`, and what they belong to. */
export interface Range<A> {
  readonly start: number
  readonly end: number
  readonly value: A
}

/**
 * A look-up over ranges that do not overlap; where they do, the one with the greatest start wins. Ranges may come in any
 * order.
 */
export const index = <A>(ranges: ReadonlyArray<Range<A>>): (at: number) => Range<A> | undefined => {
  const sorted = [...ranges].sort((a, b) => a.start - b.start)
  return (at) => {
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((sorted[middle]?.start ?? Infinity) <= at) low = middle + 1
      else high = middle
    }
    const range = sorted[low - 1]
    return range !== undefined && at < range.end ? range : undefined
  }
}
