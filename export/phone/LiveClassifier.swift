import AVFoundation
import MediaPipeTasksVision
import UIKit

/// A label and its score in 0-1.
struct Answer {
  let label: String
  let score: Float
}

/// What the model's scores mean: card.json, from the app's bundle.
struct Card: Decodable {
  let task: String
  let threshold: Float
  let labels: [String]

  static func read(from bundle: Bundle = .main) throws -> Card {
    guard let url = bundle.url(forResource: "card", withExtension: "json") else {
      throw CocoaError(.fileNoSuchFile)
    }
    return try JSONDecoder().decode(Card.self, from: Data(contentsOf: url))
  }

  /// The scores in the model's order; a binary model has one, that of labels[1].
  func scores(_ result: ImageClassifierResult) -> [Float] {
    var scores = [Float](repeating: 0, count: task == "binary" ? 1 : labels.count)
    for category in result.classificationResult.classifications.first?.categories ?? [] {
      scores[Int(category.index)] = category.score
    }
    return scores
  }

  /// What the model says: one label, or for a multilabel model any number of them.
  func answers(_ scores: [Float]) -> [Answer] {
    if task == "binary" {
      return scores[0] >= threshold
        ? [Answer(label: labels[1], score: scores[0])]
        : [Answer(label: labels[0], score: 1 - scores[0])]
    }
    let sure = labels.indices.filter { scores[$0] >= threshold }.sorted { scores[$0] > scores[$1] }
    return sure.prefix(task == "multilabel" ? sure.count : 1)
      .map { Answer(label: labels[$0], score: scores[$0]) }
  }
}

/// Options that leave the threshold to the card, whose meaning depends on the task.
func classifierOptions(
  model: String, mode: RunningMode, bundle: Bundle = .main
) throws -> ImageClassifierOptions {
  guard let path = bundle.path(forResource: model, ofType: nil) else {
    throw CocoaError(.fileNoSuchFile)
  }
  let options = ImageClassifierOptions()
  options.baseOptions.modelAssetPath = path
  options.runningMode = mode
  options.scoreThreshold = 1e-9
  return options
}

/// Classifies frames of the back camera. `onAnswers` and `onError` are called on a queue of
/// MediaPipe's, for the frames that it has time for; it drops the others.
final class LiveClassifier: NSObject {
  /// How the sensor's picture has to be seen to be upright; see `follow(_:)`.
  private var orientation = UIImage.Orientation.right
  private let card: Card
  private let onAnswers: ([Answer]) -> Void
  private let onError: (Error) -> Void
  private var classifier: ImageClassifier?
  /// Give this queue to AVCaptureVideoDataOutput, too.
  let queue = DispatchQueue(label: "pocketlens.frames")

  init(
    model: String, onAnswers: @escaping ([Answer]) -> Void, onError: @escaping (Error) -> Void
  ) throws {
    card = try Card.read()
    self.onAnswers = onAnswers
    self.onError = onError
    super.init()
    let options = try classifierOptions(model: model, mode: .liveStream)
    options.imageClassifierLiveStreamDelegate = self
    classifier = try ImageClassifier(options: options)
  }

  /// Say how the phone is held: with UIDevice.current.orientation, whenever that changes.
  func follow(_ device: UIDeviceOrientation) {
    queue.async {
      switch device {
      case .portrait: self.orientation = .right
      case .portraitUpsideDown: self.orientation = .left
      case .landscapeLeft: self.orientation = .up
      case .landscapeRight: self.orientation = .down
      default: break  // Lying flat or unknown: as it was.
      }
    }
  }
}

extension LiveClassifier: AVCaptureVideoDataOutputSampleBufferDelegate {
  func captureOutput(
    _ output: AVCaptureOutput, didOutput buffer: CMSampleBuffer, from connection: AVCaptureConnection
  ) {
    let time = CMTimeGetSeconds(CMSampleBufferGetPresentationTimeStamp(buffer))
    do {
      let image = try MPImage(sampleBuffer: buffer, orientation: orientation)
      try classifier?.classifyAsync(image: image, timestampInMilliseconds: Int(time * 1000))
    } catch {
      onError(error)
    }
  }
}

extension LiveClassifier: ImageClassifierLiveStreamDelegate {
  func imageClassifier(
    _ imageClassifier: ImageClassifier, didFinishClassification result: ImageClassifierResult?,
    timestampInMilliseconds: Int, error: Error?
  ) {
    if let result {
      onAnswers(card.answers(card.scores(result)))
    } else if let error {
      onError(error)
    }
  }
}
