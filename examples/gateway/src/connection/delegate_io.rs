//! The I/O of an enum of streams: that of the stream that is there.

/// Implements the traits of I/O for an enum by those of its variants, each of which has a stream.
macro_rules! delegate_io {
    ($streams:ty { $($(#[$meta:meta])* $variant:ident),+ $(,)? }) => {
        impl ::tokio::io::AsyncRead for $streams {
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &mut ::tokio::io::ReadBuf<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$meta])* Self::$variant(stream) => {
                        ::std::pin::Pin::new(stream).poll_read(cx, buf)
                    })+
                }
            }
        }

        impl ::tokio::io::AsyncWrite for $streams {
            fn poll_write(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$meta])* Self::$variant(stream) => {
                        ::std::pin::Pin::new(stream).poll_write(cx, buf)
                    })+
                }
            }

            fn poll_write_vectored(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bufs: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                match self.get_mut() {
                    $($(#[$meta])* Self::$variant(stream) => {
                        ::std::pin::Pin::new(stream).poll_write_vectored(cx, bufs)
                    })+
                }
            }

            fn is_write_vectored(&self) -> bool {
                match self {
                    $($(#[$meta])* Self::$variant(stream) => stream.is_write_vectored(),)+
                }
            }

            fn poll_flush(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$meta])* Self::$variant(stream) => {
                        ::std::pin::Pin::new(stream).poll_flush(cx)
                    })+
                }
            }

            fn poll_shutdown(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
            ) -> ::std::task::Poll<::std::io::Result<()>> {
                match self.get_mut() {
                    $($(#[$meta])* Self::$variant(stream) => {
                        ::std::pin::Pin::new(stream).poll_shutdown(cx)
                    })+
                }
            }
        }
    };
}

pub(super) use delegate_io;
