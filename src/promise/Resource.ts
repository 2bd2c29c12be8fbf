/**
 * What is held until it is closed: by `close()`, by `await using`, or with what it belongs to.
 */

/** What every request may be told. */
export interface RequestOptions {
  /**
   * Ends the request: what it has acquired is released, then its promise rejects with the signal's reason. A request that has
   * succeeded already is not taken back.
   */
  readonly signal?: AbortSignal
}

/** Something that is held until it is closed. Closing it twice is closing it once. */
export interface Resource {
  /** Whether it is closed, or being closed. */
  readonly closed: boolean
  /**
   * Ends the requests and loops that are under way, then releases everything, last first. The promise resolves when that is
   * done. Requests that were under way, and later ones, reject with a `ClosedError`; loops end.
   */
  readonly close: () => Promise<void>
  /** The same, for `await using`. */
  readonly [Symbol.asyncDispose]: () => Promise<void>
}
