"""Pictures of sound for the report."""

import jax.numpy as jnp

BAND, FRAME = 64, 4  # pixels: of the height of a spectrogram, and of the width and height of one frame of a step


def spectrogram(audio, hop: int):
    """Log spectra `[b, N / hop, BAND]` of waveforms `[b, N]`, each stretched to [0, 1]; Hann windows of 128 samples.

    >>> t = jnp.arange(640) / 8000
    >>> found = spectrogram(jnp.sin(2 * jnp.pi * 2000 * t)[None], hop=80)
    >>> found.shape, int(found[0, 4].argmax())
    ((1, 8, 64), 32)
    """
    size, frames = 2 * BAND, audio.shape[1] // hop
    padded = jnp.pad(audio.astype(jnp.float32), ((0, 0), (size // 2, size)))
    place = jnp.arange(frames)[:, None] * hop + hop // 2 + jnp.arange(size)[None]
    power = jnp.abs(jnp.fft.rfft(padded[:, place] * jnp.hanning(size)[None, None]))[..., :BAND] ** 2
    found = jnp.log(power + 1e-5)
    low, high = found.min((1, 2), keepdims=True), found.max((1, 2), keepdims=True)
    return (found - low) / jnp.maximum(high - low, 1e-6)


def sheet(spectra, rows):
    """Spectra `[b, T, BAND]`, the lowest pitch at the bottom, above `rows` `[b, K, T]`, both in [0, 1], as a picture.

    Returns: uint8 `[b (BAND + (K + 1) FRAME), T FRAME, 3]`.
    """
    spectra = jnp.repeat(jnp.swapaxes(spectra, 1, 2)[:, ::-1], FRAME, axis=2)
    rows = jnp.pad(rows, ((0, 0), (0, 1), (0, 0)), constant_values=0.5)
    rows = jnp.repeat(jnp.repeat(rows, FRAME, axis=1), FRAME, axis=2)
    found = jnp.concatenate([spectra, rows], axis=1)
    found = jnp.uint8(255 * found + 0.5).reshape(-1, found.shape[-1])
    return jnp.broadcast_to(found[..., None], (*found.shape, 3))
