//! A program that wants a socket, which no host of this kind gives.

fn main() {
    println!("{}", std::net::TcpStream::connect("127.0.0.1:80").is_ok());
}
