"""What a patient may ask for as a data subject: a copy of everything about them, and its erasure."""
