/**
 * Which records of an object's map of argument specifications are in use: state that is changed by pure functions.
 *
 * Records that were given back are used again before new ones are begun, the last one first.
 */

/** Which records are in use. */
export interface SpecIds {
  /** How many records the map has. */
  readonly capacity: number
  /** No record from here on was ever used. */
  readonly next: number
  /** Records below `next` that are free. */
  readonly free: ReadonlyArray<number>
}

/** No record is in use. */
export const none = (capacity: number): SpecIds => ({ capacity, next: 0, free: [] })

/** How many records are free. */
export const available = ({ capacity, free, next }: SpecIds): number => capacity - next + free.length

/** Takes `count` records; `undefined` where there are not as many. */
export const take = (
  ids: SpecIds,
  count: number
): readonly [taken: ReadonlyArray<number>, rest: SpecIds] | undefined => {
  if (count > available(ids)) return undefined
  const again = Math.min(count, ids.free.length)
  const used = ids.free.slice(ids.free.length - again).reverse()
  const fresh = Array.from({ length: count - again }, (_, index) => ids.next + index)
  return [
    [...used, ...fresh],
    { ...ids, next: ids.next + fresh.length, free: ids.free.slice(0, ids.free.length - again) }
  ]
}

/** Gives records back that were taken. */
export const give = (ids: SpecIds, taken: ReadonlyArray<number>): SpecIds => ({
  ...ids,
  free: [...ids.free, ...taken]
})
